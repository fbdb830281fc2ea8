"""Bodies are read strictly, within limits."""

import pytest
from pydantic import TypeAdapter, ValidationError

from serving.http.schema import MAX_IDS, MAX_K, MAX_REQUESTS, RecommendBody, RecommendRequests

BODIES = TypeAdapter(RecommendBody)


def test_one_request_and_several_are_told_apart():
    assert BODIES.validate_python({"user_id": 7}).user_id == 7
    assert isinstance(BODIES.validate_python({"requests": [{"user_id": "7"}]}), RecommendRequests)


@pytest.mark.parametrize(
    "body",
    [
        {"k": MAX_K + 1}, {"exclude": [1] * (MAX_IDS + 1)}, {"requests": [{}] * (MAX_REQUESTS + 1)}, {"requests": []},
        {"diversity": 1.0}, {"nothing": 1}, [],
    ],
)  # fmt: skip
def test_what_is_beyond_the_limits_is_refused(body):
    with pytest.raises(ValidationError):
        BODIES.validate_python(body)
