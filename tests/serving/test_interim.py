"""The copy of an input: reused if it is intact and of the same state, else written again."""

import polars as pl
import pytest

from recsys.data import write_arrow
from recsys.errors import InputError
from serving.interim import InterimRecord, file_name, prepare_interim, read_partition

ROWS = [3, 0, 2]


@pytest.fixture
def write():
    """Writes partitions; its attribute ``calls`` counts how often."""

    def copy(folder):
        copy.calls += 1
        for number, rows in enumerate(ROWS):
            write_arrow(pl.DataFrame({"row": range(rows)}), folder / file_name(number))
        return ROWS

    copy.calls = 0
    return copy


def test_an_intact_copy_is_reused(tmp_path, write):
    for _ in range(2):
        prepare_interim(tmp_path / "interim", "state", write)
    assert write.calls == 1
    assert InterimRecord.read(tmp_path / "interim", "state").rows == ROWS
    assert [read_partition(tmp_path / "interim", number).height for number in range(3)] == ROWS


def test_a_copy_of_another_state_is_written_again(tmp_path, write):
    prepare_interim(tmp_path / "interim", "state", write)
    with pytest.raises(InputError, match="belongs to other scores"):
        InterimRecord.read(tmp_path / "interim", "other")
    prepare_interim(tmp_path / "interim", "other", write)
    assert write.calls == 2
    InterimRecord.read(tmp_path / "interim", "other")


def test_a_damaged_copy_is_written_again(tmp_path, write):
    prepare_interim(tmp_path / "interim", "state", write)
    path = tmp_path / "interim" / file_name(2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"00002.arrow was changed after it was written"):
        InterimRecord.read(tmp_path / "interim", "state")
    prepare_interim(tmp_path / "interim", "state", write)
    assert write.calls == 2


def test_a_failure_leaves_no_copy(tmp_path):
    def fail(folder):
        (folder / file_name(0)).touch()
        raise InputError("changed while it was read")

    with pytest.raises(InputError, match="changed"):
        prepare_interim(tmp_path / "interim", "state", fail)
    assert list(tmp_path.iterdir()) == []
