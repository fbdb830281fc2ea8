"""The sharded tables of a checkpoint: a folder of pieces, written by all processes, and read by any number of them.

Every file holds one block of rows of one process's part of a tensor, in the layout of torch.distributed.checkpoint for
safetensors: the file's metadata tells where in the tensor the block lies. So torch's reader of that layout finds the
blocks that it needs, however the tables are divided now, and never holds more than one of them. Nothing is pickled.

The folder gets its final name when all processes have written. Then the checkpoint beside it is replaced, whose epoch
and step are part of the folder's name, and the folder of the checkpoint before is removed last. So a training that is
killed in between resumes from the checkpoint before. Processes on several machines need a shared file system.
"""

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from recsys import files
from recsys.errors import InputError, reason

from ..learning_curve import Progress
from ..sharding import Piece, ShardedTables, State, World
from . import checkpoint
from .checkpoint import Checkpoint

BLOCK = 1 << 26  # elements: 256 MiB of float32


def folder_of(checkpoint: Path, progress: Progress) -> Path:
    """The folder of the pieces that belong to a checkpoint."""
    return checkpoint.with_name(f"{checkpoint.stem}-{progress.epoch}-{progress.steps}.tables")


def folders_of(checkpoint: Path) -> list[Path]:
    """All folders that belonged to a checkpoint at some time."""
    return list(checkpoint.parent.glob(f"{checkpoint.stem}-[0-9]*.tables"))


def write(folder: Path, pieces: list[Piece], world: World) -> None:
    """Write the pieces of all processes into a new folder. All processes must take part."""
    with ExitStack() as stack:
        temporary = world.broadcast(lambda: stack.enter_context(files.replacing(folder, directory=True)))
        blocks = [block for piece in pieces for block in _blocks(piece)]
        for number, block in enumerate(blocks):
            offsets = json.dumps({block.name: {"saved_offsets": block.offsets}})
            tensor = block.tensor.detach().cpu().contiguous()
            path = temporary / f"{world.rank:05d}-{number:05d}.safetensors"
            save_file({block.name: tensor}, path, metadata={"DCP_SHARDING_INFO": offsets})
        world.gather(None)  # until all have written


def read(folder: Path, tables: ShardedTables) -> None:
    """Read this process's part of everything that ``ShardedTables.pieces`` returned, whoever wrote it."""
    for targets in tables.targets():
        _load(folder, targets)


def load_whole(path: Path) -> Checkpoint:
    """A checkpoint, with its tables put together in main memory if they are sharded. Arguments: see ``load``."""
    saved = checkpoint.load(path)
    folder = folder_of(path, saved.progress)
    return replace(saved, tensors=saved.tensors | read_whole(folder)) if folder.exists() else saved


def read_whole(folder: Path) -> State:
    """All tensors of a folder, put together in main memory."""
    with files.input_error_if_damaged(folder):
        metadata = _reader(folder).read_metadata().state_dict_metadata
    whole = {name: torch.empty(value.size, dtype=value.properties.dtype) for name, value in metadata.items()}
    _load(folder, whole)
    return whole


def _blocks(piece: Piece) -> list[Piece]:
    """A piece as blocks of rows."""
    tensor, (first, *others) = piece.tensor, piece.offsets
    num_rows = max(1, BLOCK // max(1, tensor[:1].numel()))
    return [
        Piece(piece.name, (first + start, *others), tensor[start : start + num_rows])
        for start in range(0, len(tensor), num_rows)
    ]


def _reader(folder: Path) -> Any:
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    return HuggingFaceStorageReader(str(folder))


def _load(folder: Path, targets: dict[str, Any]) -> None:
    """Raises InputError if the folder is damaged or not there."""
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.state_dict_loader import load

    try:
        load(targets, storage_reader=_reader(folder), no_dist=True)
    except (SafetensorError, CheckpointException, OSError) as error:
        failures = [failure for failure, _ in error.failures.values()] if hasattr(error, "failures") else [error]
        raise InputError(
            f"the tables of a checkpoint, {folder}, are damaged or incomplete ({reason(failures[0])}); restore them, "
            "or train into another --out"
        ) from error
