"""What a bundle is named by: a folder, one in a bucket, ``models:/NAME@alias`` or ``models:/NAME/VERSION``."""

import re
from dataclasses import dataclass
from pathlib import Path

from ..buckets import fetched
from ..errors import InputError
from ..paths import bucket_address
from .store import Registry

MODEL_URI = re.compile(r"models:/(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d{1,9}))")


@dataclass(frozen=True)
class Source:
    """A bundle's folder on this machine. bundle_id: the only bundle that may be there; None if any will do."""

    path: Path
    bundle_id: str | None


def resolve(source: str, uri: str | None = None) -> Source:
    """The bundle that a path, an address or a model's URI means; ``uri`` is that of the registry."""
    address = bucket_address(source)
    if address is not None:
        folder = fetched(address)
        if not (folder / "manifest.json").is_file():
            raise InputError(f"no bundle at {address}; expected the address of one, such as s3://shop/models/1/bundle")
        return Source(folder, None)
    if not source.startswith("models:"):
        return Source(Path(source), None)
    parts = MODEL_URI.fullmatch(source)
    if parts is None:
        raise InputError(
            f"{source!r} is no model; expected models:/NAME@champion or models:/NAME/3, or a bundle folder"
        )
    registry = Registry(uri)
    if parts["version"]:
        version = registry.numbered(parts["name"], int(parts["version"]))
    else:
        aliased = registry.version(parts["name"], parts["alias"])
        if aliased is None:
            raise InputError(
                f"{parts['name']!r} has no {parts['alias']} in {registry.uri}; publish and promote a model first, "
                "or name another registry with --registry"
            )
        version = aliased
    return Source(registry.bundle_path(version), version.bundle_id)
