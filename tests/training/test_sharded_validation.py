"""Several processes that share the catalogue find the score of one that has all of it."""

import numpy as np
import pytest
import torch

from recsys.data import Jagged
from recsys.model.two_tower import TwoTower
from training import sharded_validation, validation
from training.batches import make_loader
from training.description import TrainingDescription
from training.sharding import ALONE, World
from training.validation import ValidationSet

CPU = torch.device("cpu")


@pytest.fixture
def trained(small_run):
    training = TrainingDescription.of(small_run.config, small_run.dataset)
    torch.manual_seed(0)
    model = TwoTower(training.recipe.model).eval()
    return model, validation.validation_set(small_run.dataset, seed=0), make_loader(training), small_run.dataset


class Together(World):
    """The processes of a training, one after another: gathers what all of them would."""

    def gather(self, value):
        self.told.append(value)
        return list(self.told)


def together(size, told):
    for rank in range(size):
        world = Together(rank, size, sharded=True)
        object.__setattr__(world, "told", told)
        yield world


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("items_at_once", [1 << 16, 7])
def test_the_shares_of_all_processes_are_the_whole_catalogue(trained, monkeypatch, size, items_at_once):
    model, queries, loader, dataset = trained
    expected = validation.score(model, queries, loader, dataset.encoder.num_trained, CPU)
    monkeypatch.setattr(sharded_validation, "ITEMS_AT_ONCE", items_at_once)
    told = []
    scores = [
        sharded_validation.score(model, queries, loader, dataset.encoder.num_trained, CPU, world)
        for world in together(size, told)
    ]
    assert len(told) == size
    assert scores[-1] == pytest.approx(expected, abs=1e-9)


def test_cold_items_are_ranked_by_their_metadata(trained):
    model, _, loader, dataset = trained
    num_items, num_trained = dataset.encoder.num_items, dataset.encoder.num_trained
    assert num_items > num_trained
    vectors = sharded_validation._encode_items(model, np.arange(num_trained, num_items + 1), loader, CPU)
    assert len(vectors) == num_items + 1 - num_trained
    assert not torch.equal(vectors[1], vectors[2])
    assert len(sharded_validation._encode_items(model, np.arange(0), loader, CPU)) == 0


def test_users_without_a_history_score_nothing(trained):
    model, queries, loader, dataset = trained
    nobody = ValidationSet(
        Jagged.from_lengths(np.empty(0, np.int32), np.zeros(2, np.int64)), queries.targets.take(np.arange(2)),
        np.zeros(2, np.int64),
    )  # fmt: skip
    score = sharded_validation.score(model, nobody, loader, dataset.encoder.num_items, CPU, ALONE)
    assert 0 <= score <= 1
