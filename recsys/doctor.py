"""What is installed, what is missing, and the command that mends it."""

import importlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version

NEEDED = ("polars", "pyarrow", "numpy", "pydantic", "torch", "torchrec", "faiss", "mlflow", "safetensors", "altair")
MEND = "run `make setup` (or pip install 'recsys[cpu]', then pip install --no-deps torchrec==1.8.0)"


def examine() -> tuple[list[str], bool]:
    """Lines for a person to read, and whether everything is there and can be imported."""
    lines = [f"python      {platform.python_version()} on {platform.system()} {platform.machine()}"]
    lines.append(f"processors  {os.cpu_count()}")
    healthy = True
    for name in NEEDED:
        try:
            module = importlib.import_module(name)
        except Exception as error:  # a broken library may raise anything on import
            lines.append(f"{name:11s} MISSING ({str(error).splitlines()[0]}); {MEND}")
            healthy = False
            continue
        lines.append(f"{name:11s} {getattr(module, '__version__', None) or _distribution_version(name)}")
    return lines + (_devices() if healthy else []), healthy


def _distribution_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "installed, version unknown"


def _devices() -> list[str]:
    import torch

    from .search import QuantizedCatalogue, cpu_supports, num_gpus

    few = "bytes" if QuantizedCatalogue.pays(dim=64) else "float32"
    many = "bfloat16" if cpu_supports("amx_bf16") else "float32"
    lines = [f"CPU search  exact candidates of a few users by {few}, of many by {many}"]
    if not torch.cuda.is_available():
        return [*lines, "GPU         none; training and search run on the CPU"]
    lines += [f"GPU         {torch.cuda.get_device_name(number)}" for number in range(torch.cuda.device_count())]
    if not num_gpus():
        lines.append("GPU search  faiss has no GPU support; pip install faiss-gpu-cuvs in place of faiss-cpu")
    return lines
