"""The manifest of a folder in a bucket: its files by name, with their sizes and digests, and a digest of its own."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pydantic import BaseModel

from .. import files
from ..errors import InputError, reason
from ..file_seal import FileSeal

ARTIFACT, FORMAT = "folder", 1


class FolderManifest(BaseModel, frozen=True):
    """What a folder in a bucket holds: the seals of its files by their names, such as "train/items.arrow"."""

    files: dict[str, FileSeal]

    @staticmethod
    def of(folder: Path, names: Sequence[str] = ()) -> "FolderManifest":
        """The manifest of what is in a folder on this machine, but for hidden files; with names, of these alone."""
        roots = [folder / name for name in names] if names else [folder]
        members = [path for root in roots for path in (root, *root.rglob("*")) if path.is_file()]
        relative = sorted(path.relative_to(folder) for path in members)
        visible = [path for path in relative if not any(part.startswith(".") for part in path.parts)]
        return FolderManifest(files={str(path): FileSeal.of(folder / path) for path in visible})

    @staticmethod
    def parse(content: bytes, address: str) -> "FolderManifest | None":
        """The manifest at an address; None if it is one of something else. Raises InputError if it is damaged."""
        remedy = "write it again to a new address"
        try:
            values = json.loads(content)
            if not isinstance(values, dict) or values.get("artifact") != ARTIFACT:
                return None
            if values["format"] != FORMAT:
                raise InputError(f"{address} has format {values['format']}, expected {FORMAT}; {remedy}")
            manifest = FolderManifest(files=values["files"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{address} is damaged ({reason(error)}); {remedy}") from error
        if content != manifest.content() or not all(map(_is_inside, manifest.files)):
            raise InputError(f"{address} was changed after it was written; {remedy}")
        return manifest

    @property
    def digest(self) -> str:
        """The fingerprint of all files and their names."""
        return files.digest(self.model_dump(mode="json"))

    def content(self) -> bytes:
        """The only bytes that a manifest of these files has."""
        head = {"artifact": ARTIFACT, "format": FORMAT, "digest": self.digest}
        return files.as_json(head | self.model_dump(mode="json"))

    def below(self, name: str) -> "FolderManifest":
        """The part of it that is a file of that name, or a folder; all of it for the empty name."""
        return FolderManifest(
            files={
                member: seal for member, seal in self.files.items()
                if not name or member == name or member.startswith(f"{name}/")
            }
        )  # fmt: skip


def _is_inside(name: str) -> bool:
    """Whether a file of that name is written inside the folder."""
    path = PurePosixPath(name)
    parts = path.parts
    return str(path) == name and parts != () and not path.is_absolute() and ".." not in parts and "\0" not in name
