"""Tables as a folder of pieces: read back whole, in other parts, and never half."""

from dataclasses import replace

import pytest
import torch
from torch.distributed._shard.sharded_tensor import Shard, ShardedTensor
from torch.distributed._shard.sharded_tensor.metadata import ShardedTensorMetadata, TensorProperties
from torch.distributed._shard.sharding_spec import ShardMetadata

from recsys import files
from recsys.errors import InputError
from recsys.model.two_tower import TwoTower
from tests.small_trainings import SPEC
from training.checkpoints import pieces
from training.checkpoints.pieces import folder_of, folders_of, load_whole, read, read_whole, write
from training.learning_curve import PartialEpoch, Progress
from training.sharding import ALONE, Piece, Processes, ShardedTables, TableOptimizer, make_plan, process_group, shard

CPU = torch.device("cpu")
WHOLE = torch.arange(60, dtype=torch.float32).view(10, 6)


def cut(tensor, *parts):
    """Pieces of a tensor: (first row, number of rows, first column, number of columns) each."""
    return [
        Piece("t", (row, column), tensor[row : row + rows, column : column + columns])
        for row, rows, column, columns in parts
    ]


def sharded(*parts):
    """An empty ShardedTensor of WHOLE's shape, all of whose parts are in this process."""
    shards = [
        Shard(torch.zeros(rows, columns), ShardMetadata([row, column], [rows, columns], "rank:0/cpu"))
        for row, rows, column, columns in parts
    ]
    properties = TensorProperties(dtype=torch.float32)
    metadata = ShardedTensorMetadata([part.metadata for part in shards], WHOLE.size(), properties)
    return ShardedTensor._init_from_local_shards_and_global_metadata(shards, metadata)


@pytest.fixture
def world():
    with process_group("rowwise_adagrad", CPU) as world:
        yield world


@pytest.mark.parametrize("block", [1 << 26, 12, 1])
@pytest.mark.parametrize("written", [[(0, 10, 0, 6)], [(0, 7, 0, 6), (7, 3, 0, 6)], [(0, 10, 0, 2), (0, 10, 2, 4)]])
def test_any_division_is_read_as_any_other(tmp_path, monkeypatch, world, block, written):
    monkeypatch.setattr(pieces, "BLOCK", block)
    write(tmp_path / "f", cut(WHOLE, *written), ALONE)
    assert torch.equal(read_whole(tmp_path / "f")["t"], WHOLE)
    for parts in ([(0, 4, 0, 6), (4, 6, 0, 6)], [(0, 10, 0, 3), (0, 10, 3, 3)], [(0, 10, 0, 6)]):
        target = sharded(*parts)
        pieces._load(tmp_path / "f", {"t": target})
        for (row, rows, column, columns), local in zip(parts, target.local_shards(), strict=True):
            assert torch.equal(local.tensor, WHOLE[row : row + rows, column : column + columns])


def test_a_damaged_or_missing_folder_is_one_clear_error(tmp_path, world):
    write(tmp_path / "f", cut(WHOLE, (0, 5, 0, 6), (5, 5, 0, 6)), ALONE)
    second = sorted((tmp_path / "f").iterdir())[1]
    kept = second.read_bytes()
    for damage in (second.unlink, lambda: second.write_bytes(kept[:40])):
        damage()
        with pytest.raises(InputError, match=r"f, are damaged or incomplete .* train into another --out"):
            pieces._load(tmp_path / "f", {"t": sharded((0, 10, 0, 6))})
    second.write_bytes(kept)
    pieces._load(tmp_path / "f", {"t": sharded((0, 10, 0, 6))})
    with pytest.raises(InputError, match="are damaged or incomplete"):
        pieces._load(tmp_path / "g", {"t": sharded((0, 10, 0, 6))})


def test_a_writer_that_is_stopped_leaves_no_folder(tmp_path, monkeypatch):
    def fail(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(pieces, "save_file", fail)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "c-1-5.tables", cut(WHOLE, (0, 10, 0, 6)), ALONE)
    assert not list(tmp_path.iterdir())


def test_a_folder_belongs_to_one_checkpoint(tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    progress = Progress(steps=7, partial=PartialEpoch(steps=7))
    folder = folder_of(checkpoint, progress)
    finished = folder_of(checkpoint, progress.after(loss=1.0, score=None, seconds=1.0, tokens=1))
    best = folder_of(tmp_path / "checkpoint-best-1.safetensors", progress)
    assert len({folder, finished, best}) == 3
    for path in (folder, finished, best):
        path.mkdir()
    assert set(folders_of(checkpoint)) == {folder, finished}


def test_all_that_is_kept_for_rows_is_read_back(tmp_path, world):
    optimizer = TableOptimizer("rowwise_adagrad", 0.1, 0.0, averaged=True)

    def make(seed):
        model = TwoTower(replace(SPEC, num_rows=9), torchrec=True)
        made = make_plan(model, optimizer, Processes(1, 1, "cpu", 4 << 30, 4 << 30), 8)
        return shard(model, made, optimizer, CPU, seed)

    model = make(1)
    state = ShardedTables(model, averaged=True)
    for _ in range(3):
        model.module.item_tower._look_up(torch.tensor([1, 4])).square().sum().backward()
        state.step(0.0, 0.0, 0.5)
    write(tmp_path / "f", state.pieces(), world)
    other = ShardedTables(make(2), averaged=True)
    read(tmp_path / "f", other)
    for first, second in zip(state.pieces(), other.pieces(), strict=True):
        assert (first.name, first.offsets) == (second.name, second.offsets)
        assert torch.equal(first.tensor, second.tensor)
    assert {piece.name.split(".")[0] for piece in other.pieces()} == {"model", "average", "tables"}


def test_a_checkpoint_without_pieces_is_whole_already(tmp_path):
    from training.checkpoints.checkpoint import Checkpoint, Identity, save

    saved = Checkpoint({"model.a": torch.ones(2)}, Progress(steps=3), Identity("d", "s", "adamw"))
    save(tmp_path / "c.safetensors", saved)
    assert load_whole(tmp_path / "c.safetensors").tensors.keys() == {"model.a"}
    with files.replacing(folder_of(tmp_path / "c.safetensors", saved.progress), directory=True):
        pass
    write(folder_of(tmp_path / "c.safetensors", saved.progress), cut(WHOLE, (0, 10, 0, 6)), ALONE)
    assert load_whole(tmp_path / "c.safetensors").tensors.keys() == {"model.a", "t"}
