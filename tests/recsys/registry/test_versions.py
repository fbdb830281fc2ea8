"""What a version must say about itself before its files are loaded."""

import pytest

from recsys.errors import InputError
from recsys.registry.versions import Version


def test_a_version_without_bundle_id_or_run_is_named_with_its_remedy():
    whole = Version("m", 3, "run", "ab12", {})
    whole.require_bundle_id()
    whole.require_run()
    with pytest.raises(InputError, match=r"^m version 3 has no tag recsys\.bundle_id, .*publish it with"):
        Version("m", 3, "run", "", {}).require_bundle_id()
    with pytest.raises(InputError, match=r"^m version 3 names no MLflow run, so it was registered by hand; publish"):
        Version("m", 3, "", "ab12", {}).require_run()
