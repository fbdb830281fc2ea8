"""Saving and resuming a training: what is stored, what a resume checks, and what it restores.

``checkpoint.safetensors`` in the run folder is replaced by a new ``snapshot`` after an epoch, and within an epoch every
15 minutes; less often where writing it would take more than a fiftieth of the time (saver.py). The file is replaced
atomically, so a training that is killed at any moment leaves its last snapshot. Stored are named tensors in groups:

- ``model``: the weights as trained;
- ``average``: their running average, which is what gets validated;
- ``optimizer``: AdamW's moments and step counts;
- ``rows``: the same for embedding tables that are stepped row by row (training/row_adamw.py);

and, as JSON in the file's metadata, the progress (training/learning_curve.py) and the ``Identity``. The averaged
weights of the best epoch so far, which will serve, have a file of their own, named by the epoch (``best_file``).

A resume first compares the identity: another dataset, other settings of the model, loss or training, or another table
optimizer are refused, and nothing is changed. The number of epochs, the patience, the device and ``training.memory``
may differ. Then ``restore`` puts all of the above back. Random numbers need no state of their own, because every step
seeds its generators from (seed, epoch, step). The learning rate follows from the epoch (loop.py). So a resumed training
ends with the same bits as an uninterrupted one, on the same number of processes and the same kind of device.

A refit has files of its own, and a finished training's ``model.safetensors`` is a checkpoint with the ``model`` group
alone, and with every table whole. Sharded tables are written beside the checkpoint (pieces.py), and another number of
processes can resume. Nothing is ever pickled. On a CPU nothing is copied in memory on its way to the file, since large
tables fit there only once; from a GPU, the tensors of the file are copied to main memory first.
"""

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

from ..learning_curve import Progress
from ..sharding import State
from ..state import TrainingState

FORMAT = "2"  # of the tensors' names and shapes
CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "model.safetensors"
VALIDATED = "validated.safetensors"  # of a refit: the weights before it
OPTIMIZER_STATE = ("step", "exp_avg", "exp_avg_sq")  # AdamW's, for each weight


def best_file(checkpoint: Path, epoch: int) -> Path:
    """The averaged weights of the best epoch, beside the checkpoint that tells which epoch that is."""
    return checkpoint.with_name(f"{checkpoint.stem}-best-{epoch}.safetensors")


def refit_file(epochs: int) -> str:
    """The checkpoint of a refit. A refit of another length is another training and must not be resumed from it."""
    return f"refit-{epochs}.safetensors"


@dataclass(frozen=True)
class Identity:
    """What a checkpoint and the training that resumes it must agree on.

    dataset: digest of its inputs. settings: digest of the model, loss and training sections, without the number of
    epochs, the patience, the device and ``training.memory``, which may change. table_optimizer: its name.
    """

    dataset: str
    settings: str
    table_optimizer: str

    @staticmethod
    def of(config: Config, dataset: Dataset) -> "Identity":
        """The identity of a training."""
        settings = config.model_dump(include={"model", "loss", "training"})
        settings["model"]["history"] = settings["model"].pop("history_encoder")  # the key's name when digests began
        table_optimizer = settings["training"].pop("table_optimizer")
        for name in ("epochs", "patience", "device", "memory"):
            settings["training"].pop(name)
        return Identity(dataset.digest, files.digest(settings), table_optimizer)


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors, each name prefixed by its group and a dot, with the progress and the identity."""

    tensors: dict[str, Tensor]
    progress: Progress
    identity: Identity

    def group(self, name: str) -> dict[str, Tensor]:
        """The tensors of one group, without the prefix."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}


def snapshot(state: TrainingState, identity: Identity) -> Checkpoint:
    """The whole state after a step, without sharded tables."""
    optimizer = {
        f"{name}.{key}": state.optimizer.state[weight][key]
        for name, weight in state.dense.items() if weight in state.optimizer.state
        for key in OPTIMIZER_STATE
    }  # fmt: skip
    tensors = grouped(
        model=state.whole(), average=state.whole_average(), optimizer=optimizer, rows=state.tables.state()
    )  # fmt: skip
    return Checkpoint(tensors, state.progress_now(), identity)


def restore(state: TrainingState, saved: Checkpoint) -> None:
    """Put a snapshot back."""
    state.restore(saved.group("model"), saved.group("average"))
    state.tables.restore(saved.group("rows"))
    state.progress = saved.progress
    state.loss.fill_(saved.progress.partial.loss)
    optimizer = saved.group("optimizer")
    for name, weight in state.dense.items():
        if f"{name}.step" in optimizer:
            state.optimizer.state[weight] = {
                key: optimizer[f"{name}.{key}"].to(weight.device, copy=True) for key in OPTIMIZER_STATE
            }


def grouped(**groups: State) -> dict[str, Tensor]:
    """The tensors of several groups on the CPU, under names with their group's prefix."""
    return {
        f"{prefix}.{name}": value.detach().cpu().contiguous()
        for prefix, group in groups.items()
        for name, value in group.items()
    }


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, replacing what is at ``path`` atomically."""
    identity = json.dumps(asdict(checkpoint.identity))
    metadata = {"format": FORMAT, "progress": checkpoint.progress.to_json(), "identity": identity}
    with files.replacing(path) as temporary:
        save_file(checkpoint.tensors, temporary, metadata=metadata)


def load(path: Path, identity: Identity | None = None) -> Checkpoint:
    """Read a checkpoint, and compare its identity with ``identity`` if one is given.

    Raises InputError if the file is damaged, or belongs to another training or release.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        if "identity" in metadata and metadata.get("format") != FORMAT:
            raise InputError(
                f"{path} was written by another release; continue with that one, or train into another --out"
            )
        saved, progress = Identity(**json.loads(metadata["identity"])), Progress.from_json(metadata["progress"])
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(f"checkpoint {path} is damaged ({error}); remove it, or train into another --out") from error
    for name, expected in asdict(identity).items() if identity is not None else ():
        if getattr(saved, name) != expected:
            raise InputError(
                f"checkpoint {path} was written with {name} = {getattr(saved, name)!r}, this training has "
                f"{expected!r}; train into another --out"
            )
    return Checkpoint(tensors, progress, saved)
