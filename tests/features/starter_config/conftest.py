"""Files as people have them."""

import pytest

from features.starter_config.columns import look_at


@pytest.fixture
def write(tmp_path):
    """A function: a name, a header and rows to the path of a CSV file."""

    def make(name, header, rows, separator=","):
        path = tmp_path / name
        lines = [header, *(separator.join(map(str, row)) for row in rows)]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    return make


@pytest.fixture
def look(write):
    """A function: as ``write``, to the file as it is looked at."""
    return lambda *arguments: look_at(write(*arguments))
