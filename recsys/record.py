"""Small facts that are stored in a file of their own, as JSON."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict

from . import files


class Record(BaseModel):
    """What is stored in a file of its own. FILE: its name in the folder of the records."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)
    FILE: ClassVar[str]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the record from its file in ``folder``."""
        with files.input_error_if_damaged(folder / cls.FILE):
            return cls.model_validate(files.read_json(folder / cls.FILE))

    def write(self, folder: Path) -> None:
        """Write the record to its file in ``folder``."""
        files.write_json(folder / self.FILE, self.model_dump(mode="json", by_alias=True))
