"""Items that may not be recommended for now, such as those out of stock: a file that services and batches read."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeInt, StrictInt, StrictStr

from .. import files
from ..errors import InputError
from ..record import Record

MAX_MASKED = 10_000_000


class Mask(Record):
    """Items that nobody gets.

    version: Counts the changes; answers carry it. item_ids: raw ids, unknown ones among them are without effect.
    """

    FILE: ClassVar[str] = "mask.json"

    version: NonNegativeInt = 0
    item_ids: Annotated[tuple[StrictInt | StrictStr, ...], Field(max_length=MAX_MASKED)] = ()

    @staticmethod
    def at(path: Path) -> "Mask":
        """Read a mask from a file. Raises InputError if it is missing or damaged."""
        if not path.is_file():
            raise InputError(f"no mask at {path}; expected a JSON file with version and item_ids")
        with files.input_error_if_damaged(path):
            return Mask.model_validate(files.read_json(path))

    def save(self, path: Path) -> None:
        """Write the mask to a file, whole or not at all."""
        files.write_json(path, self.model_dump(mode="json"))
