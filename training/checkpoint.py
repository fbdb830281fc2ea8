"""A training state on disk: safetensors and JSON in one file, replaced atomically; never a pickle."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from recsys import files
from recsys.errors import InputError


@dataclass
class Progress:
    """Where a training stands. history: one row per epoch (epoch, loss, score, seconds, ...)."""

    epoch: int = 0
    steps: int = 0
    best_score: float = -1.0
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """tensors: named, grouped by prefix (model, average, best, optimizer). identity: what a resume must match."""

    tensors: dict[str, Tensor]
    progress: Progress
    identity: dict[str, Any]

    def group(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under ``prefix.``, with the prefix cut off."""
        return {
            name.removeprefix(f"{prefix}."): value
            for name, value in self.tensors.items()
            if name.startswith(f"{prefix}.")
        }


def grouped(**groups: dict[str, Tensor]) -> dict[str, Tensor]:
    """Named tensors of several groups in one mapping, each name under its group's prefix."""
    return {
        f"{prefix}.{name}": value.detach().cpu().contiguous().clone()
        for prefix, group in groups.items()
        for name, value in group.items()
    }


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Replace ``path`` by this state."""
    metadata = {"progress": json.dumps(asdict(checkpoint.progress)), "identity": json.dumps(checkpoint.identity)}
    with files.replacing(path) as temporary:
        save_file(checkpoint.tensors, temporary, metadata=metadata)


def load(path: Path, identity: dict[str, Any]) -> Checkpoint:
    """Raises InputError where the state is damaged or of another training (data, settings, table optimizer)."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        found, progress = (json.loads(metadata[key]) for key in ("identity", "progress"))
    except (SafetensorError, KeyError) as error:
        raise InputError(f"checkpoint {path} is damaged ({error}); remove it, or train into another --out") from error
    different = [key for key, value in identity.items() if found.get(key) != value]
    if different:
        key = different[0]
        raise InputError(
            f"checkpoint {path} was written with {key} = {found.get(key)!r}, this training has {identity[key]!r}; "
            "train into another --out"
        )
    return Checkpoint(tensors, Progress(**progress), found)
