import json
import subprocess
import sys

import pytest
import torch
import torchrec

from recsys.model import plain_tables

LENGTHS = torch.tensor([2, 0, 1, 3, 1, 0])  # of three rows, two features
VALUES = torch.tensor([1, 4, 2, 0, 5, 5, 3])


def collections(source):
    bags = source.EmbeddingBagCollection(
        tables=[
            source.EmbeddingBagConfig(
                name=f"item_{name}", embedding_dim=4, num_embeddings=6, feature_names=[name],
                pooling=source.PoolingType.MEAN,
            )
            for name in ("genre", "tags")
        ]
    )  # fmt: skip
    ids = source.EmbeddingCollection(
        tables=[source.EmbeddingConfig(name="item", embedding_dim=4, num_embeddings=6, feature_names=["id"])]
    )
    return bags, ids


@pytest.fixture
def both():
    """Our collections with the weights of TorchRec's."""
    torch.manual_seed(0)
    theirs, ours = collections(torchrec), collections(plain_tables)
    for their, our in zip(theirs, ours, strict=True):
        our.load_state_dict(their.state_dict())
    return theirs, ours


def test_bags_are_pooled_as_by_torchrec(both):
    (theirs, _), (ours, _) = both
    given = {"keys": ["tags", "genre"], "values": VALUES, "lengths": LENGTHS}
    expected, found = theirs(torchrec.KeyedJaggedTensor(**given)), ours(plain_tables.KeyedJaggedTensor(**given))
    for name in ("genre", "tags"):
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-7)
    assert not found["tags"][1].any()
    assert plain_tables.KeyedJaggedTensor(**given)["genre"].lengths().tolist() == [3, 1, 0]


def test_ids_are_looked_up_as_by_torchrec(both):
    (_, theirs), (_, ours) = both
    given = {"keys": ["id"], "values": VALUES, "lengths": torch.ones_like(VALUES)}
    expected, found = theirs(torchrec.KeyedJaggedTensor(**given)), ours(plain_tables.KeyedJaggedTensor(**given))
    assert torch.equal(found["id"].values(), expected["id"].values())


WITHOUT_TORCHREC = """
import json, sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("torchrec", "fbgemm_gpu"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torchrec" else real(name, *rest)
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
