"""Which names a model may have."""

import pytest

from recsys.errors import InputError
from recsys.registry.names import check_name, lock_name

REFUSED = [
    "", " ", "a/b", "a\\b", "a:b", "it's", 'say "x"', "me@home", " lead", "trail ", "two  spaces", "two\nlines",
    "tab\t", "nul\0", ".", "..", ".hidden", "end.", "-flag", "100%", "what?", "a#b", "a*b", "<b>", "a|b",
    "zero\u200bwidth", "\ud800", "x" * 201, "é" * 101, "m.lock", "m.LOCK", "m.lock.broken-1", ".lock",
]  # fmt: skip
ALLOWED = [
    "small",
    "other one",
    "R&D (v2)",
    "naïve.model-x_1",
    "商品",
    "lock",
    "padlock",
    "a.locked",
    "x" * 200,
    "é" * 100,
]


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_no_uri_folder_or_lock_allows(name):
    with pytest.raises(InputError, match=r"^model name .* \(registry\.name of a configuration\) .*expected") as raised:
        check_name(name)
    assert "\n" not in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("name", ALLOWED)
def test_a_name_that_all_of_them_allow(name):
    check_name(name)


def test_a_name_that_looks_like_another_is_refused_with_that_one():
    with pytest.raises(InputError, match="expected 'caf\u00e9', which looks the same"):
        check_name("cafe\u0301")


def test_a_lock_has_a_name_that_no_model_may_have():
    check_name("m")
    with pytest.raises(InputError, match="is that of a lock"):
        check_name(lock_name("m"))
