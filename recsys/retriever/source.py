"""What a retriever is loaded from, so that several processes load the same one."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ..errors import InputError
from ..paths import absolute_location
from ..registry import MODEL_URI, Registry
from ..text_encoders import import_functions
from .retriever import Retriever


@dataclass(frozen=True)
class RetrieverSource:
    """Arguments of ``Retriever.load``. encoders: those of text that may run, as "package.module:function"."""

    bundle: str
    items: str | None = None
    users: str | None = None
    device: str = "cpu"
    registry_uri: str | None = None
    encoders: tuple[str, ...] = ()

    def load(self, *, mapped: bool = False) -> Retriever:
        """Load it. mapped: see ``Retriever.load``."""
        return Retriever.load(
            self.bundle, items=self.items, users=self.users, device=self.device, registry_uri=self.registry_uri,
            mapped=mapped, encoders=import_functions(self.encoders),
        )  # fmt: skip

    def fixed(self) -> "RetrieverSource":
        """The same wherever and whenever it is loaded: absolute paths, and a version's number in place of an alias."""
        here, bundle, registry_uri = Path.cwd(), self.bundle, self.registry_uri
        parts = MODEL_URI.fullmatch(bundle)
        if parts is None:
            bundle = absolute_location(bundle, here)
        else:
            registry = Registry(registry_uri)
            registry_uri = registry.uri
            version = registry.version(parts["name"], parts["alias"]) if parts["alias"] else None
            if version is not None:
                bundle = f"models:/{parts['name']}/{version.number}"
        items, users = (None if table is None else absolute_location(table, here) for table in (self.items, self.users))
        return replace(self, bundle=bundle, items=items, users=users, registry_uri=registry_uri)


@lru_cache(maxsize=1)
def _kept(source: RetrieverSource) -> Retriever:
    return source.load(mapped=True)


def same_retriever(source: RetrieverSource, bundle_id: str, metadata_digest: str | None) -> Retriever:
    """The retriever that another process has loaded, loaded once in this one.

    Raises:
        InputError: There is another bundle or metadata by now, or on this machine.
    """
    retriever = _kept(source)
    if (retriever.bundle_id, retriever.metadata_digest) != (bundle_id, metadata_digest):
        raise InputError(
            f"{source.bundle} is bundle {retriever.bundle_id[:12]} here and {bundle_id[:12]} where the job was "
            "started, or the tables of items and users differ; expected the same on all machines: start again"
        )
    return retriever
