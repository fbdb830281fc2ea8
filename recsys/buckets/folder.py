"""A folder in a bucket, which holds what is a folder on this machine: a dataset, a published run, scores.

    ADDRESS/parts/SHA256-NAME       a file, by the digest of its bytes; written first, and never changed
    ADDRESS/manifest.json           the files by name; written last, and only if there is none
    ADDRESS/claim                   until the manifest is there: whose the folder is, if it is uploaded step by step
    ADDRESS/steps/SHA256            until the manifest is there: the files of a finished step

A store has no rename. So the manifest is what makes the folder: before it is there, readers see nothing, and afterwards
nothing changes. A reader reads the manifest, then the parts that it names, and checks every byte. A part that is there
is not uploaded again. The parts that a killed or a slower writer left are deleted once the manifest is there: no
manifest can name them any more.
"""

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from .. import files
from ..errors import InputError
from ..file_seal import FileSeal
from .cache import adding_to_copy
from .manifest import FolderManifest
from .store import create, delete, download, head, in_parallel, objects_below, read, split_address, store_error, write

logger = logging.getLogger(__name__)


class BucketFolder:
    """A folder in a bucket, at an address such as s3://shop/dataset."""

    def __init__(self, address: str) -> None:
        self.address = "/".join(split_address(address)).rstrip("/")
        self._parts: dict[str, int] | None = None  # the sizes of those that are there, by address

    def manifest(self) -> FolderManifest | None:
        """The manifest; None as long as nobody has finished the folder."""
        address = f"{self.address}/manifest.json"
        with store_error("read", address, address):
            content = read(address)
        return None if content is None else FolderManifest.parse(content, address)

    def require_writable(self) -> None:
        """Write and delete an object, before hours of work are spent. Raises InputError if that is refused."""
        probe = f"{self.address}/probe"
        with store_error("write", self.address, self.address):
            write(probe, b"")
        self._delete([probe])

    def fetch(self, manifest: FolderManifest, name: str = "") -> Path:
        """The copy on this machine of all files, or of a file or folder; what is missing of it is downloaded.

        Raises:
            InputError: A part is missing or damaged.
        """
        with adding_to_copy(manifest.digest) as copy:
            wanted = manifest.below(name).files
            missing = {
                member: seal for member, seal in wanted.items()
                if not (copy / member).is_file() or (copy / member).stat().st_size != seal.bytes
            }  # fmt: skip
            self._download(missing, copy)
        return copy / name

    def restore(self, folder: Path, claim: str) -> bool:
        """Bring a folder on this machine to the state of the one in the bucket, finished or not.

        Args:
            folder: Where to; files that are there with the same bytes stay, and so do others.
            claim: The file that says whose the folder is.

        Returns:
            Whether there is anything in the bucket.
        """
        with store_error("read", self.address, self.address):
            claimed = read(f"{self.address}/claim")
            steps = objects_below(f"{self.address}/steps")
            contents = in_parallel(read, [step.url for step in steps], "steps read", len(steps))
        seals: dict[str, FileSeal] = {}
        for step, content in zip(steps, contents, strict=True):
            manifest = None if content is None else FolderManifest.parse(content, step.url)
            seals |= {} if manifest is None else manifest.files
        manifest = self.manifest()  # after the steps, which are deleted once it is there
        if manifest is not None:
            seals = manifest.files
        self._download({name: seal for name, seal in seals.items() if seal.fault(folder / name)}, folder)
        if manifest is None and claimed is not None:
            with files.replacing(folder / claim) as temporary:
                temporary.write_bytes(claimed)
        return manifest is not None or claimed is not None

    def add_step(self, folder: Path, names: Sequence[str], claim: str) -> None:
        """Upload some files that belong together, so that another machine can go on from here.

        Raises:
            InputError: The folder is claimed by somebody who writes something else.
        """
        step = FolderManifest.of(folder, names)
        self._upload(step, folder)
        mine = (folder / claim).read_bytes()
        with store_error("write", self.address, self.address):
            if create(f"{self.address}/claim", mine) != mine:
                raise InputError(
                    f"{self.address} is being written by another process, with other inputs or started at the same "
                    "time; wait until it has ended, or choose another --out"
                )
            write(f"{self.address}/steps/{step.digest}", step.content())

    def finish(self, folder: Path, names: Sequence[str] = ()) -> FolderManifest:
        """Upload what is in a folder, or some of it, and then the manifest, with which readers see it.

        Raises:
            InputError: Other files are there already, or the store refuses to take these.
        """
        manifest = FolderManifest.of(folder, names)
        self._upload(manifest, folder)
        with store_error("write", self.address, self.address):
            content = create(f"{self.address}/manifest.json", manifest.content())
        present = FolderManifest.parse(content, f"{self.address}/manifest.json")
        if present is not None:
            self.delete_leftovers(present)
        if present != manifest:
            raise InputError(
                f"{self.address} holds something else, which was finished before; choose another address, or delete "
                f"all objects in {self.address}/"
            )
        return manifest

    def delete_leftovers(self, manifest: FolderManifest) -> None:
        """Delete the parts that a finished folder's manifest does not name, and the claim and steps from before it."""
        named = {self.part(name, seal) for name, seal in manifest.files.items()}
        with store_error("read", self.address, self.address):
            present = objects_below(f"{self.address}/parts") + objects_below(f"{self.address}/steps")
            claims = [f"{self.address}/claim"] if head(f"{self.address}/claim") is not None else []
        self._delete([part.url for part in present if part.url not in named] + claims)

    def part(self, name: str, seal: FileSeal) -> str:
        """The address of the object that has a file."""
        return f"{self.address}/parts/{seal.sha256}-{name.rpartition('/')[2]}"

    def _upload(self, manifest: FolderManifest, folder: Path) -> None:
        """Upload the parts that are not there."""
        with store_error("write", self.address, self.address):
            if self._parts is None:
                self._parts = {part.url: part.size for part in objects_below(f"{self.address}/parts")}
            missing = {
                self.part(name, seal): folder / name for name, seal in manifest.files.items()
                if self._parts.get(self.part(name, seal)) != seal.bytes
            }  # fmt: skip
            in_parallel(lambda part: write(part, missing[part]), missing, "files uploaded", len(missing))
        self._parts |= {part: path.stat().st_size for part, path in missing.items()}

    def _download(self, seals: dict[str, FileSeal], folder: Path) -> None:
        """Download the parts of some files. Raises InputError if one is missing or damaged; then its file is, too."""

        def take(name: str) -> None:
            part, path = self.part(name, seals[name]), folder / name
            with store_error("read", part, part):
                digest = download(part, seals[name].bytes, path)
            if digest != seals[name].sha256:
                files.discard(path)
                raise InputError(
                    f"{part}, which is {name} of {self.address}, is {'missing' if digest is None else 'damaged'}; "
                    f"restore it, or delete all objects in {self.address}/ and write it again"
                )

        in_parallel(take, seals, "files downloaded", len(seals))

    def _delete(self, addresses: list[str]) -> None:
        try:
            with store_error("write", self.address, self.address):
                delete(addresses)
        except InputError as error:  # what stays is never read
            logger.warning("%d objects in %s cannot be deleted: %s", len(addresses), self.address, error)


def fetched(address: str, beside: str = "") -> Path:
    """The copy on this machine of a folder in a bucket, or of a file or folder inside one.

    Args:
        address: Of the folder, or of what is inside it.
        beside: The name of something beside it that is wanted, too, if it is there.

    Raises:
        InputError: Nothing is finished there, or a part is missing or damaged.
    """
    location = find(address)
    if location is None:
        raise InputError(
            f"nothing finished at {address}; expected the address that `recsys build --out`, `score --out` or `publish "
            "--to` was given, or a file or folder inside it"
        )
    folder, manifest, name = location
    if not manifest.below(name).files:
        raise InputError(f"{folder.address} has no {name}; expected one of {', '.join(manifest.files)}")
    copy = folder.fetch(manifest, name)
    if name and beside:
        folder.fetch(manifest, str(PurePosixPath(name).with_name(beside)))
    return copy


def find(address: str) -> tuple[BucketFolder, FolderManifest, str] | None:
    """The finished folder at an address or around it, its manifest, and what the address names in it."""
    bucket, key = split_address(address)
    parts = [part for part in key.split("/") if part]
    for length in range(len(parts), -1, -1):
        folder = BucketFolder("/".join([bucket, *parts[:length]]))
        manifest = folder.manifest()
        if manifest is not None:
            return folder, manifest, "/".join(parts[length:])
    return None
