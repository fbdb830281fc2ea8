"""The seal of a bundle: a manifest with the digest of every file, and of itself."""

import json
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, JsonValue

from .. import files
from ..errors import BundleError

FORMAT = 8
READABLE = (6, 7, FORMAT)  # 6: see format_6.py. 7 has no weights of a search by text, and is searched by fixed ones
MANIFEST = "manifest.json"
MAX_MANIFEST = 1 << 20  # bytes


class Manifest(BaseModel, frozen=True, strict=True, extra="forbid"):
    """The content of manifest.json. bundle_id: the digest of ``members``, which are file names with their sha256."""

    format: int
    bundle_id: str
    members: dict[str, str]

    @staticmethod
    def of(folder: Path) -> "Manifest":
        """The manifest for the files in ``folder``."""
        members = {member.name: files.sha256(member) for member in sorted(folder.iterdir())}
        return Manifest(format=FORMAT, bundle_id=files.digest(members), members=members)


def seal(folder: Path) -> str:
    """Write the manifest of the files in ``folder``, as its last file; return the bundle's id."""
    manifest = Manifest.of(folder)
    (folder / MANIFEST).write_bytes(sealed(manifest.model_dump()))
    return manifest.bundle_id


def sealed(manifest: dict[str, JsonValue]) -> bytes:
    """The only bytes that a manifest.json with this content may have: keys sorted, its own digest added."""
    return (json.dumps(manifest | {"digest": files.digest(manifest)}, indent=2, sort_keys=True) + "\n").encode()


def verify(path: Path, expected_id: str | None = None, digest: Callable[[Path], str] = files.sha256) -> str:
    """Check every byte of a bundle against its manifest, and return the bundle's id.

    Args:
        path: The bundle's folder.
        expected_id: The id that the bundle must have, where somebody else names it; None if any will do.
        digest: How to read a member and take its digest.

    Raises:
        BundleError: A file was changed, is missing or does not belong to the bundle, or the bundle is unfinished or of
            another format, or it is not the bundle that was expected.
    """
    manifest = _read_manifest(path)
    if expected_id is not None and manifest.bundle_id != expected_id:
        raise BundleError(
            f"bundle {path} is {manifest.bundle_id[:12]}; expected {expected_id[:12]}, the one that was registered: "
            "something has replaced its files; restore them, or publish again"
        )
    present = {member.name for member in path.iterdir()} - {MANIFEST}
    for name in sorted(present ^ set(manifest.members)):
        fault = "does not belong to it; remove it" if name in present else "is missing; fetch or publish it again"
        raise BundleError(f"bundle {path}: {name} {fault}")
    for name, expected in manifest.members.items():
        if not (path / name).is_file() or digest(path / name) != expected:
            raise BundleError(f"bundle {path}: {name} was changed after it was sealed; fetch or publish it again")
    return manifest.bundle_id


def _read_manifest(path: Path) -> Manifest:
    source = path / MANIFEST
    if not source.is_file():
        raise BundleError(f"no bundle at {path}; expected a folder with manifest.json, as `recsys publish` writes it")
    damaged = BundleError(f"bundle {path}: manifest.json was changed after it was sealed; fetch or publish it again")
    if source.stat().st_size > MAX_MANIFEST:
        raise damaged
    content = source.read_bytes()
    try:
        fields = json.loads(content)
        fields.pop("digest")
        intact = content == sealed(fields)
        bundle_format = fields["format"]
        is_known = isinstance(bundle_format, int) and bundle_format in READABLE
        manifest = Manifest.model_validate(fields) if is_known else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged from error
    if not intact or not isinstance(bundle_format, int):
        raise damaged
    if manifest is None:
        remedy = "upgrade recsys" if bundle_format > FORMAT else "publish it again"
        readable = " and ".join(map(str, READABLE))
        raise BundleError(f"bundle {path} has format {bundle_format}, this release reads {readable}: {remedy}")
    if manifest.bundle_id != files.digest(manifest.members):
        raise damaged
    return manifest
