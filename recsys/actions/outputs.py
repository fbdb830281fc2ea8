"""Where a command writes: a folder on this machine, or one that is uploaded to a bucket at the end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..buckets import BucketFolder, keep_as_copy, upload_folder
from ..errors import InputError
from ..paths import bucket_address, local_path
from ..progress import expect_stage, stage

if TYPE_CHECKING:
    from ..config import Config
    from ..data import DatasetManifest


@dataclass(frozen=True)
class Output:
    """Where a command writes.

    location: as messages name it. folder: on this machine. stored: the folder in a bucket that gets what is in
    ``folder``; None where that is all.
    """

    location: str
    folder: Path
    stored: BucketFolder | None = None

    def restore(self, claim: str) -> None:
        """Go on from what is in the bucket, also where another machine has put it there.

        claim: The file that says what is made of which inputs.
        """
        if self.stored is not None and not self.stored.restore(self.folder, claim):
            files.discard(self.folder)  # of a process that was killed before it had claimed the address

    def step(self, claim: str) -> Callable[[list[str]], None] | None:
        """What uploads some finished files; None for a folder on this machine."""
        stored = self.stored
        return None if stored is None else lambda names: stored.add_step(self.folder, names, claim)

    def upload(self, what: str, *, keep: bool = False) -> None:
        """Upload everything, the manifest last. keep: to read it again on this machine without a download."""
        if self.stored is None:
            return
        with stage(f"upload the {what}"):
            manifest = self.stored.finish(self.folder)
            if keep:
                keep_as_copy(self.folder, manifest.digest)
            files.discard(self.folder)


@contextmanager
def output(location: str | Path) -> Iterator[Output]:
    """A place that can be written to, by its path or its address. Errors name the address, not the folder used for it.

    Raises:
        InputError: Nothing can be written there.
    """
    address = bucket_address(location)
    if address is None:
        path = local_path(location)
        files.require_writable(path)
        yield Output(str(path), path)
        return
    stored = writable_folder(address)
    expect_stage()
    with upload_folder(stored.address) as folder, naming(stored.address, folder):
        yield Output(stored.address, folder, stored)


def writable_folder(address: str) -> BucketFolder:
    """A folder in a bucket that can be written to. Raises InputError if it cannot, or is no address in a bucket."""
    bucket = bucket_address(address)
    if bucket is None:
        raise InputError(f"{address} is no address in a bucket; expected one, such as s3://shop/models/1")
    stored = BucketFolder(bucket)
    stored.require_writable()
    return stored


@contextmanager
def naming(address: str, folder: Path) -> Iterator[None]:
    """Name an address in the errors about the folder that is used on this machine for it."""
    try:
        yield
    except InputError as error:
        if str(folder) not in str(error):
            raise
        raise type(error)(str(error).replace(str(folder), address)) from error


def finished_dataset(config: "Config", out: Output) -> "DatasetManifest | None":
    """What a finished dataset in a bucket says about itself; None if there is none, or ``out`` is on this machine.

    What an earlier command has left on this machine is deleted, unless it is that very dataset.

    Raises:
        InputError: The dataset there is of other inputs or settings.
    """
    from features.build import made_from
    from features.inputs import fingerprint_inputs

    from ..data import DatasetManifest

    if out.stored is None:
        return None
    finished = out.stored.manifest()
    if finished is None:
        is_left = False  # by a process that was killed while it uploaded it
        with suppress(InputError):
            is_left = made_from(config, DatasetManifest.read(out.folder), fingerprint_inputs(config))
        if not is_left:
            files.discard(out.folder)
        return None
    files.discard(out.folder)
    copy = out.stored.fetch(finished, "manifest.json").parent
    with naming(out.location, copy):
        manifest = DatasetManifest.read(copy)
    if not made_from(config, manifest, fingerprint_inputs(config)):
        raise InputError(
            f"{out.location} holds a dataset of other inputs or settings; choose another --out, or delete all objects "
            f"in {out.location}/"
        )
    out.stored.delete_leftovers(finished)
    return manifest
