import json
import subprocess
import sys

import pytest
import torch

from recsys.model.embedding_tables import KeyedJaggedTensor, Table, bag_tables, id_tables

OFFSETS = torch.tensor([[0, 2, 2, 3], [0, 3, 4, 4]])  # of two features, three rows
VALUES = torch.tensor([1, 4, 2, 0, 5, 5, 3])
BAGS = KeyedJaggedTensor(["tags", "genre"], VALUES, OFFSETS, [3, 4])
IDS = KeyedJaggedTensor(["id"], VALUES, torch.arange(8).unsqueeze(0), [7])
TABLES = [Table(f"item_{name}", name, 6, 4) for name in ("genre", "tags")]


def plain_and_torchrec(make, tables):
    """Both kinds of one collection, with the same weights: TorchRec's has none of its own."""
    torch.manual_seed(0)
    plain, torchrec = make(tables, torchrec=False), make(tables, torchrec=True)
    assert all(weight.is_meta for weight in torchrec.parameters())
    torchrec.load_state_dict({name: value.clone() for name, value in plain.state_dict().items()}, assign=True)
    return plain, torchrec


def assert_equal_gradients(plain, torchrec):
    for weight, other in zip(plain.parameters(), torchrec.parameters(), strict=True):
        assert torch.equal(weight.grad, other.grad)


@pytest.mark.parametrize("tables", [TABLES, TABLES[::-1]])
def test_both_kinds_have_the_same_names_and_shapes(tables):
    for make, chosen in ((bag_tables, tables), (id_tables, [Table("item", "id", 6, 4)])):
        plain, torchrec = (make(chosen, torchrec=torchrec).state_dict() for torchrec in (False, True))
        assert list(plain) == list(torchrec)
        assert all(plain[name].shape == torchrec[name].shape for name in plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bags_are_pooled_as_by_torchrec_to_the_bit(dtype):
    plain, torchrec = (collection.to(dtype) for collection in plain_and_torchrec(bag_tables, TABLES))
    pooled, expected = plain(BAGS), torchrec(BAGS.to_torchrec())
    for name in ("genre", "tags"):
        assert torch.equal(pooled[name], expected[name])
        assert pooled[name].dtype == expected[name].dtype
        for vectors in (pooled, expected):
            vectors[name].sin().sum().backward(retain_graph=True)
    assert_equal_gradients(plain, torchrec)
    assert not pooled["tags"][1].any()
    assert BAGS["genre"].lengths().tolist() == [3, 1, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ids_are_looked_up_as_by_torchrec_to_the_bit(dtype):
    both = plain_and_torchrec(id_tables, [Table("item", "id", 6, 4)])
    plain, torchrec = (collection.to(dtype) for collection in both)
    vectors, expected = plain(IDS)["id"].values(), torchrec(IDS.to_torchrec())["id"].values()
    assert torch.equal(vectors, expected)
    assert vectors.dtype == expected.dtype
    for output in (vectors, expected):
        output.sin().sum().backward()
    assert_equal_gradients(plain, torchrec)


WITHOUT_TORCHREC = """
import json, sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("torchrec", "fbgemm_gpu"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from recsys.retriever import Retriever
answers = Retriever.load(sys.argv[1]).recommend([json.loads(sys.argv[2])], k=5)
print(json.dumps([answers.item_ids.to_list(), answers.scores.to_list()]))
"""


def test_a_bundle_serves_where_torchrec_is_absent(small_run):
    from recsys.retriever import Retriever

    history = small_run.items["item_id"][:4].to_list()
    command = [sys.executable, "-c", WITHOUT_TORCHREC, str(small_run.run / "bundle"), json.dumps(history)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    item_ids, scores = json.loads(done.stdout)
    expected = Retriever.load(small_run.run / "bundle").recommend([history], k=5)
    assert item_ids == expected.item_ids.to_list()
    assert scores[0] == pytest.approx(expected.scores.to_list()[0], rel=1e-5)
