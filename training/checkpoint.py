"""A training state on disk: safetensors and JSON in one file, replaced atomically; never a pickle."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from recsys import files
from recsys.config import Config
from recsys.data import Dataset
from recsys.errors import InputError

from .learning_curve import Progress


@dataclass(frozen=True)
class Identity:
    """What a checkpoint and the training that resumes it must agree on.

    dataset: digest of its inputs. settings: digest of the model, loss and training sections, without the number of
    epochs, the patience and the device, which may change. table_optimizer: its name.
    """

    dataset: str
    settings: str
    table_optimizer: str

    @staticmethod
    def of(config: Config, dataset: Dataset) -> "Identity":
        """The identity of a training."""
        settings = config.model_dump(include={"model", "loss", "training"})
        table_optimizer = settings["training"].pop("table_optimizer")
        for name in ("epochs", "patience", "device"):
            settings["training"].pop(name)
        return Identity(dataset.digest, files.digest(settings), table_optimizer)


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors, grouped by prefix (model, average, best, optimizer, tables), with progress and identity."""

    tensors: dict[str, Tensor]
    progress: Progress
    identity: Identity

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
    metadata = {
        "progress": json.dumps(checkpoint.progress.to_json()), "identity": json.dumps(asdict(checkpoint.identity)),
    }  # fmt: skip
    with files.replacing(path) as temporary:
        save_file(checkpoint.tensors, temporary, metadata=metadata)


def load(path: Path, identity: Identity | None = None) -> Checkpoint:
    """Read a checkpoint, and compare it with ``identity`` if one is given.

    Raises InputError if the file is damaged or belongs to another training (data, settings or table optimizer).
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        saved, progress = (json.loads(metadata[key]) for key in ("identity", "progress"))
    except (SafetensorError, KeyError) as error:
        raise InputError(f"checkpoint {path} is damaged ({error}); remove it, or train into another --out") from error
    for name, expected in asdict(identity).items() if identity is not None else ():
        if saved.get(name) != expected:
            raise InputError(
                f"checkpoint {path} was written with {name} = {saved.get(name)!r}, this training has {expected!r}; "
                "train into another --out"
            )
    return Checkpoint(tensors, Progress.from_json(progress), Identity(**saved))
