from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch

from recsys.data import jagged_parts
from recsys.data.jagged import Jagged
from recsys.data.jagged_parts import JaggedParts
from recsys.model.feature_tensors import FeatureTable
from recsys.model.two_tower import TwoTower
from tests.small_trainings import TINY
from training.batches.loader import Loader, make_loader
from training.batches.negatives import NegativePool, NegativeSampler
from training.description import TrainingDescription

NO_FEATURES = FeatureTable({}, None)
NUM_ITEMS = 300


def make(lengths=None, *, history_encoder="transformer", batch_tokens=64, max_history=12, **options):
    """A loader over random histories of one user each, whose metadata row is the history's row plus one."""
    rng = np.random.default_rng(0)
    lengths = np.array([2, 2, 2, 30, 3, 5, 8, 13, 14, 12, 4, 7, 2, 9] * 7) if lengths is None else lengths
    values = rng.integers(1, NUM_ITEMS + 1, lengths.sum()).astype(np.int32)
    counts = np.bincount(values, minlength=NUM_ITEMS + 1)
    return Loader(
        JaggedParts([Jagged.from_lengths(values, lengths)]), np.arange(len(lengths)) + 1, NO_FEATURES, NO_FEATURES,
        NegativePool(NegativeSampler.from_counts(counts, 0.0), None), 16, batch_tokens, max_history, history_encoder,
        seed=1, **options,
    )  # fmt: skip


def read(step):
    """The (inputs, labels) of each user of a step, read from its tensors by loops."""
    batch, by_user, token = step.batch, {}, 0
    num_columns = batch.inputs.shape[1]
    for row, length in enumerate(batch.lengths.tolist()):
        inputs, labels, users = [], [], set()
        for column in range(length):
            assert batch.tokens[token] == row * num_columns + column
            inputs.append(int(batch.rows[batch.inputs[row, column]]))
            labels.append(int(batch.rows[step.labels[token]]))
            users.add(int(step.own[token]))
            token += 1
        assert (batch.inputs[row, length:] == 0).all()
        (user,) = users
        assert user not in by_user
        by_user[user] = inputs, labels
    assert token == len(batch.tokens) == len(step.labels) == len(step.own)
    return by_user


def test_an_epoch_cuts_unordered_histories_into_pieces():
    whole = make(history_encoder="pooling", max_history=40)
    in_pieces = make(history_encoder="pooling", max_history=40, piece_length=8)
    seen = [[], []]
    for epoch, pieces_of_users in enumerate(seen):
        for step in in_pieces.epoch(epoch):
            starts = np.flatnonzero(np.diff(np.r_[-1, step.batch.tokens // step.batch.inputs.shape[1]]))
            for user, items in zip(step.own[starts], np.split(step.batch.rows[step.labels], starts[1:]), strict=True):
                assert 2 <= len(items) < 16
                pieces_of_users.append((int(user), items.tolist()))
    for user, history in enumerate(map(whole.histories.whole().__getitem__, range(len(whole.histories)))):
        pieces = [items for owner, items in seen[0] if owner == user]
        assert len(pieces) == max(1, len(history) // 8)
        assert min(map(len, pieces)) >= min(8, len(history))
        assert sorted(item for piece in pieces for item in piece) == sorted(history.tolist())
    assert seen[0] != seen[1]


@pytest.mark.parametrize(
    ("history_encoder", "piece_length"), [("transformer", None), ("pooling", None), ("pooling", 4)]
)
def test_shards_change_no_step(history_encoder, piece_length, monkeypatch):
    monkeypatch.setattr(jagged_parts, "VALUES_AT_ONCE", 50)
    loader = make(history_encoder=history_encoder, piece_length=piece_length)
    whole, cuts = loader.histories.whole(), [0, 17, 17, 60, 98]
    parts = [whole.take(np.arange(start, end)) for start, end in pairwise(cuts)]
    sharded = replace(loader, histories=JaggedParts(parts))
    for one, other in zip(loader.epoch(1), sharded.epoch(1), strict=True):
        for name in ("rows", "inputs", "lengths", "tokens"):
            assert torch.equal(getattr(one.batch, name), getattr(other.batch, name))
        for name in ("label_ids", "pool_ids", "own"):
            assert torch.equal(getattr(one, name), getattr(other, name))
        assert one.seed == other.seed


@pytest.mark.parametrize("history_encoder", ["transformer", "pooling"])
def test_an_epoch_serves_every_user_once_with_their_latest_events(history_encoder):
    loader = make(history_encoder=history_encoder)
    by_user = {}
    for step in loader.epoch(1):
        part = read(step)
        assert not part.keys() & by_user.keys()
        by_user |= part
    assert by_user.keys() == set(range(len(loader.histories)))
    for user, (inputs, labels) in by_user.items():
        history = loader.histories.whole()[user].tolist()
        if history_encoder == "transformer":  # each position predicts the next item
            assert inputs == history[:-1][-12:]
            assert labels == history[1:][-12:]
        else:  # each position predicts its own item
            assert inputs == labels == history[-12:]


def test_the_indices_of_a_step_point_at_its_distinct_items():
    loader = make()
    for step in loader.epoch(1):
        rows = step.batch.rows
        assert rows[0] == 0
        assert (rows.diff() > 0).all()
        assert int(rows.max()) <= NUM_ITEMS
        used = torch.cat([step.batch.inputs.flatten(), step.labels, step.pool, torch.zeros(1, dtype=torch.int64)])
        assert set(used.tolist()) == set(range(len(rows)))  # every row is used, none is out of range
        assert (rows[step.labels] > 0).all()
        assert (rows[step.pool] > 0).all()
        assert len(step.pool) == 16


def test_a_step_has_the_metadata_of_its_users():
    dense = np.arange(0, 200, dtype=np.float32).reshape(-1, 1)
    loader = replace(make(), user_features=FeatureTable({}, dense))
    for step in loader.epoch(1):
        users = list(read(step))
        assert step.batch.user_features.dense[:, 0].tolist() == [user + 1 for user in users]


@pytest.mark.parametrize("lengths", [[30] * 5, [2] * 101, [13, 2, 2, 2, 200, 9, 9]])
@pytest.mark.parametrize("history_encoder", ["transformer", "pooling"])
def test_a_batch_has_at_most_batch_tokens_unless_one_user_is_longer(lengths, history_encoder):
    loader = make(np.array(lengths), history_encoder=history_encoder, batch_tokens=16, max_history=20)
    for step in loader.epoch(1):
        num_users, num_columns = step.batch.inputs.shape
        assert num_users * num_columns <= 16 or num_users == 1


def test_less_than_a_tenth_of_the_positions_is_padding():
    """Log-normal lengths like those of ml-1m: a mean of about 110, cut to 200."""
    lengths = np.random.default_rng(0).lognormal(4.4, 0.9, 6_000).astype(np.int64).clip(18, 2_000)
    loader = make(lengths, batch_tokens=4096, max_history=200)
    assert 90 < loader.lengths.mean() < 130
    positions = tokens = steps = 0
    for step in loader.epoch(1):
        positions += step.batch.inputs.numel()
        tokens += len(step.batch.tokens)
        steps += 1
    assert tokens == loader.lengths.sum()
    assert 1 - tokens / positions < 0.10
    assert tokens / steps > 0.85 * 4096  # and batches are nearly full


def flat(step):
    batch = step.batch
    return [
        tensor.tolist()
        for tensor in (batch.rows, batch.inputs, batch.lengths, batch.tokens, step.labels, step.pool, step.own)
    ]


def test_an_epoch_is_a_function_of_seed_and_number():
    loader = make()
    first = [flat(step) for step in loader.epoch(1)]
    assert first == [flat(step) for step in make().epoch(1)]
    assert first != [flat(step) for step in loader.epoch(2)]
    assert first != [flat(step) for step in replace(loader, seed=2).epoch(1)]
    orders = [[tuple(read(step)) for step in loader.epoch(number)] for number in (1, 2)]
    assert sorted(orders[0]) != sorted(orders[1])  # batches have other users, too


@pytest.mark.parametrize("world_size", [2, 3, 5])
@pytest.mark.parametrize("num_users", [98, 97, 61, 7])
def test_processes_share_an_epoch(world_size, num_users):
    """Every user is served by one process, and all take equally many steps, or a collective operation would hang."""
    lengths = np.random.default_rng(num_users).integers(2, 30, num_users)
    ranks = [
        list(make(lengths, rank=rank, world_size=world_size, batch_tokens=48).epoch(3)) for rank in range(world_size)
    ]
    assert len({len(steps) for steps in ranks}) == 1
    users = [user for steps in ranks for step in steps for user in read(step)]
    assert sorted(users) == list(range(num_users))
    if len(ranks[0]):
        assert len({tuple(steps[0].batch.rows[steps[0].pool].tolist()) for steps in ranks}) == world_size


def test_every_step_of_every_epoch_draws_its_own_negatives():
    loader = make()
    drawn = [tuple(step.batch.rows[step.pool].tolist()) for number in (1, 2, 3) for step in loader.epoch(number)]
    assert len(set(drawn)) == len(drawn)


def test_the_steps_of_two_processes_are_those_of_one_in_turn():
    loader = make(np.full(64, 9))
    alone = [flat(step) for step in loader.epoch(1)]
    assert len(alone) == 8  # divisible by the number of processes
    halves = [[flat(step) for step in replace(loader, rank=rank, world_size=2).epoch(1)] for rank in (0, 1)]
    assert [step for pair in zip(*halves, strict=True) for step in pair] == alone


def test_with_fewer_users_than_processes_nobody_takes_a_step():
    for rank in range(3):
        assert list(make(np.array([5, 6]), rank=rank, world_size=3).epoch(1)) == []


def test_no_row_is_out_of_range(build_dataset):
    """Rare items have no row of their own and cold items only metadata: neither is ever looked up."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(40), 8)
    items = rng.zipf(1.5, len(users)).clip(1, 60)
    events = pl.DataFrame({"user_id": users, "item_id": items, "time": np.arange(len(users))})
    catalogue = pl.DataFrame({"item_id": range(1, 81), "genre": [f"g{item % 3}" for item in range(1, 81)]})
    config, dataset = build_dataset(
        events, items=catalogue, data={"min_item_events": 3},
        features={"item": [{"name": "genre", "kind": "categorical"}]}, **TINY,
    )  # fmt: skip
    assert dataset.encoder.num_trained < 30 < dataset.encoder.num_items
    training = TrainingDescription.of(config, dataset)
    recipe, loader = training.recipe, make_loader(training)
    for step in (step for epoch in range(3) for step in loader.epoch(epoch)):
        rows = step.batch.rows
        assert int(rows.min()) == 0
        assert int(rows.max()) < recipe.model.num_rows == dataset.encoder.num_trained + 1
        assert int(max(step.batch.inputs.max(), step.labels.max(), step.pool.max())) < len(rows)
        assert (rows[step.labels] > 0).all()
        TwoTower(recipe.model)(step.batch)


def test_users_with_one_training_event_are_left_out(build_dataset, cyclic_events):
    events = cyclic_events(num_users=20)
    single = pl.DataFrame({"user_id": [1000], "item_id": [3], "time": [0]})
    config, dataset = build_dataset(pl.concat([events, single]), **TINY)
    user_ids, histories = dataset.train()
    assert 1000 in user_ids.to_list()
    loader = make_loader(TrainingDescription.of(config, dataset))
    assert loader.histories.lengths.min() >= 2
    assert len(loader.histories) == (histories.lengths >= 2).sum() < len(histories)


def test_a_refit_leaves_out_who_has_no_trained_item(build_dataset):
    pairs = pl.DataFrame({"user_id": range(80), "item_id": range(80)})  # every item has one event only
    users = pl.DataFrame({"user_id": range(80), "text": [f"word{user}" for user in range(80)]})
    config, dataset = build_dataset(
        pairs, users=users, data={"min_user_events": 1}, split={"kind": "users"},
        features={"user": [{"name": "text", "kind": "text"}]}, **TINY,
    )  # fmt: skip
    refit = replace(dataset, with_validation=True)
    assert (refit.train()[1].lengths == 0).any()
    loader = make_loader(TrainingDescription.of(config, refit))
    assert loader.histories.lengths.tolist() == [1] * dataset.manifest.statistics.training_events
    assert sum(len(step.labels) for step in loader.epoch(0)) == len(loader.histories)


def test_user_rows_are_those_of_the_user(build_dataset, cyclic_events):
    users = pl.DataFrame({"user_id": [5, 2, 77], "age": [50.0, 20.0, 70.0]})
    config, dataset = build_dataset(
        cyclic_events(num_users=8), users=users, features={"user": [{"name": "age", "kind": "numeric"}]}, **TINY
    )
    user_ids, histories = dataset.train()
    loader = make_loader(TrainingDescription.of(config, dataset))
    known = dataset.users().get_column("user_id").to_list()
    trainable = user_ids.filter(pl.Series(histories.lengths >= 2)).to_list()
    assert loader.user_rows.tolist() == [known.index(user) + 1 if user in known else 0 for user in trainable]
    assert sorted(loader.user_rows.tolist())[-2:] > [0, 0]


PROFILES = FeatureTable({}, None, is_known=np.arange(99) % 3 > 0)


def test_users_with_known_columns_also_predict_their_first_item_from_these_alone():
    loader = replace(make(np.array([1, 2, 9, 30, 1, 4])), user_features=PROFILES, knows_profiles=True)
    seen = {}
    for step in loader.epoch(1):
        length = step.batch.inputs.shape[1]
        is_profile = step.batch.tokens % (length + step.batch.with_profiles) == length
        labels, users = step.batch.rows[step.labels][is_profile], step.own[is_profile]
        assert (~is_profile).sum() == step.batch.lengths.sum()
        seen |= dict(zip(users.tolist(), labels.tolist(), strict=True))
    firsts = loader.histories.whole().values[loader.histories.whole().offsets[:-1]]
    assert seen == {user: firsts[user] for user in range(6) if (user + 1) % 3}


def test_without_an_order_the_item_that_columns_predict_is_random():
    histories = np.array([5] * 60)
    loader = replace(
        make(histories, history_encoder="pooling"), user_features=PROFILES, knows_profiles=True
    )  # fmt: skip
    places = []
    for step in loader.epoch(1):
        last = len(step.batch.lengths)  # a profile a user, after all events
        for user, label in zip(step.own[-last:], step.batch.rows[step.labels][-last:], strict=True):
            places.append(loader.histories.whole()[int(user)].tolist().index(int(label)))
    assert set(places) == {0, 1, 2, 3, 4}


def test_without_histories_every_item_is_predicted_from_columns_alone():
    loader = replace(make(np.array([1, 3, 2] * 9), history_encoder="none", batch_tokens=8), user_features=PROFILES)
    pairs = []
    for step in loader.epoch(1):
        assert step.batch.inputs.shape[1] == 0
        assert len(step.labels) <= 8
        pairs += zip(step.own.tolist(), step.batch.rows[step.labels].tolist(), strict=True)
    whole = loader.histories.whole()
    assert sorted(pairs) == sorted(zip(whole.row_of_value, whole.values, strict=True))
