"""What is installed, what is missing, and the command that installs it."""

import importlib
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("polars", "pyarrow", "numpy", "pydantic", "torch", "torchrec", "faiss", "mlflow", "safetensors", "altair")
REMEDY = "run `make setup` (or pip install 'recsys[cpu]', then pip install --no-deps torchrec==1.8.0)"


@dataclass(frozen=True)
class Examination:
    """What is on this machine. libraries: the version of each, None where it cannot be imported.

    faults: by library, why it cannot be imported. devices: what this machine searches and trains on; empty where a
    library is missing.
    """

    python: str
    processors: int | None
    libraries: dict[str, str | None]
    faults: dict[str, str]
    devices: dict[str, str]

    @property
    def healthy(self) -> bool:
        """Whether everything can be imported."""
        return not self.faults

    def lines(self) -> list[str]:
        """The same for a person to read."""
        rows = {"python": self.python, "processors": str(self.processors)}
        for name, installed in self.libraries.items():
            rows[name] = installed or f"MISSING ({self.faults[name]}); {REMEDY}"
        return [f"{name:11s} {text}" for name, text in (rows | self.devices).items()]


def examine() -> Examination:
    """Import every library that is needed, and look at the devices."""
    libraries: dict[str, str | None] = {}
    faults = {}
    for name in LIBRARIES:
        try:
            module = importlib.import_module(name)
        except Exception as error:  # a broken library may raise anything on import
            libraries[name] = None
            faults[name] = (str(error).splitlines() or [type(error).__name__])[0]
            continue
        libraries[name] = str(getattr(module, "__version__", None) or _distribution_version(name))
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Examination(python, os.cpu_count(), libraries, faults, {} if faults else _devices())


def _distribution_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "installed, version unknown"


def _devices() -> dict[str, str]:
    import torch

    from ..search import QuantizedCatalogue, cpu_supports, num_gpus

    few = "bytes" if QuantizedCatalogue.pays(dim=64) else "float32"
    many = "bfloat16" if cpu_supports("amx_bf16") else "float32"
    devices = {"CPU search": f"exact candidates of a few users by {few}, of many by {many}"}
    if not torch.cuda.is_available():
        return devices | {"GPU": "none; training and search run on the CPU"}
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    devices["GPU"] = ", ".join(names)
    if not num_gpus():
        devices["GPU search"] = "faiss has no GPU support; pip install faiss-gpu in place of faiss-cpu"
    return devices
