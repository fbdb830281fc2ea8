"""Cold items get the share of the answers that they have of the validation targets."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recsys.data.encoder import Transform
from recsys.data.jagged import Jagged
from recsys.model.encoding import encode_catalogue
from recsys.model.feature_tensors import FeatureTable
from recsys.model.two_tower import TwoTower
from tests.small_trainings import SPEC
from training.cold_items import share
from training.cold_items.share import give_share, is_clearly_worse, number_for
from training.validation import ValidationSet, rank

NUM_TRAINED, NUM_ITEMS, NUM_QUERIES = 60, 100, 50
COLOUR = Transform("colour", "multi_categorical", 4)
COLOURS = FeatureTable({"colour": Jagged.from_rows([[], *[[row % 3 + 1] for row in range(NUM_ITEMS)]])}, None)
WORLD = replace(SPEC, num_rows=NUM_TRAINED + 1, item_transforms=(COLOUR,), id_dropout=0.1, embedding_dim=8)


class World:
    """A model and what it is asked: users who all lie roughly in one direction, and targets, three in ten cold."""

    def __init__(self, **changes):
        torch.manual_seed(0)
        self.model = TwoTower(replace(WORLD, **changes)).eval().requires_grad_(False)
        self.users = torch.randn(NUM_QUERIES, self.model.spec.width) / 4 + 1
        rng = np.random.default_rng(0)
        self.history = Jagged.from_rows(rng.integers(1, NUM_ITEMS + 1, (NUM_QUERIES, 3)).tolist())
        self.targets = Jagged.from_rows([[NUM_ITEMS if query % 10 < 3 else 1] for query in range(NUM_QUERIES)])
        self.ids = self.model.item_tower.ids.embeddings["item"]
        self.trained = self.ids.weight
        self.before = self.trained.clone()

    def encoded(self):
        return encode_catalogue(self.model, COLOURS, NUM_ITEMS, torch.device("cpu")), self.users

    def give_share(self):
        queries = ValidationSet(self.history, self.targets, np.zeros(NUM_QUERIES, np.int64))
        return give_share(self.model, self.encoded, queries, self.targets)[0]

    def share_of(self, items):
        return (rank(self.users, items, self.history, share.DEPTH) > NUM_TRAINED).mean()

    def is_unchanged(self):
        return self.ids.weight is self.trained and torch.equal(self.trained, self.before)


@pytest.fixture(autouse=True)
def a_small_world(monkeypatch):
    monkeypatch.setattr(share, "DEPTH", 10)
    monkeypatch.setattr(share, "FEWEST_TARGETS", 15)
    monkeypatch.setattr(share, "is_clearly_worse", lambda before, after: False)


@pytest.mark.parametrize("num_members", [1, 2])
@pytest.mark.parametrize("before", [-2.0, 2.0])
def test_cold_items_get_their_share_whether_they_had_more_or_less(num_members, before):
    world = World(num_members=num_members)
    world.trained[0] += before
    items = world.encoded()[0]
    assert world.share_of(items) == (0.0 if before < 0 else 1.0)
    after = world.give_share()
    assert world.share_of(after) == pytest.approx(0.3, abs=0.005)
    assert torch.equal(after, world.encoded()[0])
    assert torch.equal(after[: NUM_TRAINED + 1], items[: NUM_TRAINED + 1])


@pytest.mark.parametrize("near", [True, False])
def test_cold_items_with_about_their_share_stay(monkeypatch, near):
    world = World()
    now = world.share_of(world.encoded()[0])
    monkeypatch.setattr(share, "NEAR", (now / 0.3 - 0.01, now / 0.3 + 0.01) if near else (0.0, now / 0.3 - 0.01))
    world.give_share()
    assert world.is_unchanged() == near


def test_the_order_of_cold_items_stays_and_so_does_the_table_of_the_training():
    world = World()
    items = world.encoded()[0]
    added = world.users @ (world.give_share() - items)[NUM_TRAINED + 1 :].T
    torch.testing.assert_close(added, added[:, :1].expand_as(added))
    assert torch.equal(world.trained, world.before)
    assert not world.is_unchanged()


@pytest.mark.parametrize("changes", [{"similarity": "cosine"}, {"id_dropout": 1.0}, {"item_transforms": ()}])
def test_a_model_whose_cold_scores_no_sum_can_move_stays_as_it_is(changes):
    world = World(**changes)
    assert torch.equal(world.give_share(), world.encoded()[0])
    assert world.is_unchanged()


def test_fewer_cold_targets_than_tell_a_share_change_nothing():
    world = World()
    world.targets.values[np.flatnonzero(world.targets.values > NUM_TRAINED)[0]] = 1
    world.give_share()
    assert world.is_unchanged()


def test_a_share_that_makes_the_answers_clearly_worse_is_not_given(monkeypatch):
    monkeypatch.setattr(share, "is_clearly_worse", is_clearly_worse)
    world = World()
    world.trained[0] -= 2.0
    best = world.encoded()[0] @ world.users.mean(dim=0)
    world.targets.values[world.targets.values == 1] = int(best[1 : NUM_TRAINED + 1].argsort(descending=True)[4]) + 1
    world.before = world.trained.clone()
    items = world.encoded()[0]
    assert torch.equal(world.give_share(), items)
    assert world.is_unchanged()


@pytest.mark.parametrize(("change", "worse"), [(-0.05, True), (-0.03, False), (0.0, False), (0.05, False)])
def test_two_standard_errors_are_clear(change, worse):
    noise = np.tile([-0.2, 0.2], 50)  # its standard error is .02
    assert is_clearly_worse(np.full(100, 0.5), 0.5 + change + noise) == worse


def test_the_number_counts_by_hand(monkeypatch):
    """Cold items get one, two, three and four of the four best from -2, 1, 3.5 and 8 on."""
    monkeypatch.setattr(share, "DEPTH", 4)
    warm, cold = torch.tensor([[9.0, 6.0, 4.0, 2.0]]), torch.tensor([[1.0, 2.5, 3.0, 4.0]]).flip(1)
    enters = [2.0 - 4.0, 4.0 - 3.0, 6.0 - 2.5, 9.0 - 1.0]
    for count, number in enumerate(enters, start=1):
        assert number_for(warm, cold, torch.ones(1), count / 4) == number
    assert number_for(warm, cold, torch.tensor([2.0]), 0.5) == enters[1] / 2


def test_a_query_that_nothing_can_bring_cold_items_does_not_count_and_few_items_are_all_taken(monkeypatch):
    monkeypatch.setattr(share, "DEPTH", 2)
    warm, cold = torch.tensor([[3.0, 1.0], [3.0, 1.0]]), torch.tensor([[0.0], [0.0]])
    assert number_for(warm, cold, torch.tensor([1.0, -1.0]), 0.25) == 1.0
    assert number_for(torch.tensor([[3.0]]), torch.tensor([[0.0]]), torch.ones(1), 0.5) == -torch.inf
