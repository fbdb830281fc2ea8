"""Who does the work of a command: this machine, or a Ray cluster."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ..errors import InputError
from ..extras import library

if TYPE_CHECKING:
    from ..retriever import RetrieverSource

EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class Engine:
    """What --engine and --address say. address: of the cluster; see ``recsys.ray_cluster.connected``."""

    name: EngineName = "local"
    address: str | None = None

    @property
    def is_ray(self) -> bool:
        """Whether a cluster does it. Raises InputError if there can be none."""
        if self.name == "local":
            if self.address is not None:
                raise InputError("--address names a Ray cluster, but the engine is local; add --engine ray")
            return False
        library("ray", "ray", "--engine ray")
        return True

    def source(
        self, bundle: str, items: str | None, users: str | None, device: str, registry: str | None,
        allow_encoder: list[str] | None,
    ) -> "RetrieverSource":  # fmt: skip
        """What a retriever is loaded from: here, or also in each worker of a cluster.

        Raises:
            InputError: The workers of a cluster cannot use the device.
        """
        from ..retriever import RetrieverSource

        source = RetrieverSource(bundle, items, users, device, registry, tuple(allow_encoder or ()))
        if not self.is_ray:
            return source
        if device == "cuda":
            raise InputError("--device is cuda with --engine ray, whose tasks compute on processors; leave it out")
        return replace(source, device="cpu").fixed()


LOCAL = Engine()
