"""Who does the work of a command: this machine, or a Ray cluster."""

from dataclasses import dataclass
from typing import Literal

from ..errors import InputError
from ..extras import library

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


LOCAL = Engine()
