import pytest

from recsys.extras import library


def test_a_library_or_which_extra_installs_it():
    assert library("json.decoder", "any", "JSON").JSONDecoder
    with pytest.raises(ValueError, match=r"fire cannot be used without no_such .* pip install 'recsys\[hot\]'"):
        library("no_such.part", "hot", "fire")
