"""The copy of an input that scoring reads: one Arrow file per partition, whole and checked before anything is scored.

Once it is written, a change of the input cannot reach the scores, and a killed run need not read the input again.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import polars as pl
from pydantic import BaseModel

from recsys import files
from recsys.data import read_arrow
from recsys.errors import InputError
from recsys.file_seal import FileSeal

logger = logging.getLogger(__name__)
_RECORD = "manifest.json"


class InterimRecord(BaseModel, frozen=True):
    """What the copy was made of. state: the seal of what is scored. rows: of each partition."""

    state: str
    rows: list[int]
    files: dict[str, FileSeal]

    def write(self, folder: Path) -> None:
        """Write ``folder/manifest.json``."""
        files.write_json(folder / _RECORD, self.model_dump())

    @staticmethod
    def read(folder: Path, state: str) -> "InterimRecord":
        """Read what ``write`` wrote, and check every byte of the copy.

        Raises:
            InputError: It is missing, damaged, or was made for another state.
        """
        path = folder / _RECORD
        if not path.is_file():
            raise InputError(f"{path} is missing")
        with files.input_error_if_damaged(path):
            record = InterimRecord(**files.read_json(path))
        if path.read_bytes() != files.as_json(record.model_dump()) or record.state != state:
            raise InputError(f"{path} belongs to other scores")
        for number in range(len(record.rows)):
            name = file_name(number)
            fault = record.files[name].fault(folder / name) if name in record.files else f"{name} is missing"
            if fault is not None:
                raise InputError(fault)
        return record


def file_name(number: int) -> str:
    """The name of a partition's file."""
    return f"{number:05d}.arrow"


def prepare_interim(folder: Path, state: str, write: Callable[[Path], list[int]]) -> None:
    """Have the copy at ``folder``: the one that a killed run left if it is intact, else a new one.

    Args:
        folder: Where it is.
        state: The seal of what is scored.
        write: Writes the partitions' files to a folder and returns the rows of each.
    """
    if folder.exists():
        try:
            InterimRecord.read(folder, state)
        except (InputError, OSError) as fault:
            logger.warning("what a killed run had read is read again: %s", fault)
            files.discard(folder)
        else:
            return
    with files.replacing(folder, directory=True) as temporary:
        rows = write(temporary)
        names = [file_name(number) for number in range(len(rows))]
        sealed = {name: FileSeal.of(temporary / name) for name in names}
        InterimRecord(state=state, rows=rows, files=sealed).write(temporary)


def read_partition(folder: Path, number: int) -> pl.DataFrame:
    """The rows of a partition."""
    return read_arrow(folder / file_name(number))
