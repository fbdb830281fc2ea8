import shutil
from pathlib import Path

import pytest


@pytest.fixture
def copy(small_run, tmp_path):
    """A bundle to damage."""
    return Path(shutil.copytree(small_run.run / "bundle", tmp_path / "copy"))
