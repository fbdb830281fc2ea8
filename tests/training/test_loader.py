from dataclasses import replace

import numpy as np
import pytest
import torch

from recsys.data.jagged import Jagged
from recsys.model.feature_tensors import FeatureTable
from training.loader import Loader
from training.negatives import NegativeSampler

NO_FEATURES = FeatureTable({}, None)
NUM_ITEMS = 300


def make(lengths=None, *, causal=True, batch_tokens=64, max_history=12, **options):
    """A loader over random histories; each is one user whose metadata row is their number plus one."""
    rng = np.random.default_rng(0)
    lengths = np.array([2, 2, 2, 30, 3, 5, 8, 13, 14, 12, 4, 7, 2, 9] * 7) if lengths is None else lengths
    values = rng.integers(1, NUM_ITEMS + 1, lengths.sum()).astype(np.int32)
    counts = np.bincount(values, minlength=NUM_ITEMS + 1)
    return Loader(
        Jagged.from_lengths(values, lengths), np.arange(len(lengths)) + 1, NO_FEATURES, NO_FEATURES,
        NegativeSampler.from_counts(counts, 0.0), 16, batch_tokens, max_history, causal, seed=1, **options,
    )  # fmt: skip


def read(step):
    """What a step asks of each of its users: user to (inputs, labels), by loops over its tensors."""
    batch, found, token = step.batch, {}, 0
    num_places = batch.inputs.shape[1]
    for row, length in enumerate(batch.lengths.tolist()):
        inputs, labels, users = [], [], set()
        for place in range(length):
            assert batch.tokens[token] == row * num_places + place
            inputs.append(int(batch.rows[batch.inputs[row, place]]))
            labels.append(int(batch.rows[step.labels[token]]))
            users.add(int(step.own[token]))
            token += 1
        assert (batch.inputs[row, length:] == 0).all()
        (user,) = users
        assert user not in found
        found[user] = inputs, labels
    assert token == len(batch.tokens) == len(step.labels) == len(step.own)
    return found


def test_an_epoch_deals_unordered_histories_into_pieces():
    whole = make(causal=False, max_history=40)
    dealt = make(causal=False, max_history=40, piece_length=8)
    seen = [[], []]
    for epoch, found in enumerate(seen):
        for step in dealt.epoch(epoch):
            starts = np.flatnonzero(np.diff(np.r_[-1, step.batch.tokens // step.batch.inputs.shape[1]]))
            for user, items in zip(step.own[starts], np.split(step.batch.rows[step.labels], starts[1:]), strict=True):
                assert 2 <= len(items) < 16
                found.append((int(user), items.tolist()))
    for user, history in enumerate(map(whole.histories.__getitem__, range(len(whole.histories)))):
        pieces = [items for owner, items in seen[0] if owner == user]
        assert len(pieces) == max(1, len(history) // 8)
        assert min(map(len, pieces)) >= min(8, len(history))
        assert sorted(item for piece in pieces for item in piece) == sorted(history.tolist())
    assert seen[0] != seen[1]


@pytest.mark.parametrize("causal", [True, False])
def test_an_epoch_is_every_user_once_with_the_latest_events(causal):
    loader = make(causal=causal)
    found = {}
    for step in loader.epoch(1):
        part = read(step)
        assert not part.keys() & found.keys()
        found |= part
    assert found.keys() == set(range(len(loader.histories)))
    for user, (inputs, labels) in found.items():
        history = loader.histories[user].tolist()
        if causal:  # each place predicts the next
            assert inputs == history[:-1][-12:]
            assert labels == history[1:][-12:]
        else:  # each place predicts itself
            assert inputs == labels == history[-12:]


def test_steps_are_consistent():
    loader = make()
    for step in loader.epoch(1):
        rows = step.batch.rows
        assert rows[0] == 0
        assert (rows.diff() > 0).all()
        assert int(rows.max()) <= NUM_ITEMS
        used = torch.cat([step.batch.inputs.flatten(), step.labels, step.negatives, torch.zeros(1, dtype=torch.int64)])
        assert set(used.tolist()) == set(range(len(rows)))  # every row is used, none is out of range
        assert (rows[step.labels] > 0).all()
        assert (rows[step.negatives] > 0).all()
        assert len(step.negatives) == 16


def test_user_metadata_follows_the_user():
    dense = np.arange(0, 200, dtype=np.float32).reshape(-1, 1)
    loader = replace(make(), user_features=FeatureTable({}, dense))
    for step in loader.epoch(1):
        users = list(read(step))
        assert step.batch.user_features.dense[:, 0].tolist() == [user + 1 for user in users]


@pytest.mark.parametrize("lengths", [[30] * 5, [2] * 101, [13, 2, 2, 2, 200, 9, 9]])
@pytest.mark.parametrize("causal", [True, False])
def test_a_batch_fits_its_tokens_unless_one_user_is_longer(lengths, causal):
    loader = make(np.array(lengths), causal=causal, batch_tokens=16, max_history=20)
    for step in loader.epoch(1):
        num_users, num_places = step.batch.inputs.shape
        assert num_users * num_places <= 16 or num_users == 1


def test_little_padding():
    """Log-normal lengths as of ml-1m: mean about 110, cut to 200."""
    lengths = np.random.default_rng(0).lognormal(4.4, 0.9, 6_000).astype(np.int64).clip(18, 2_000)
    loader = make(lengths, batch_tokens=4096, max_history=200)
    assert 90 < loader.lengths.mean() < 130
    places = tokens = steps = 0
    for step in loader.epoch(1):
        places += step.batch.inputs.numel()
        tokens += len(step.batch.tokens)
        steps += 1
    assert tokens == loader.lengths.sum()
    assert 1 - tokens / places < 0.10
    assert tokens / steps > 0.85 * 4096  # nor are batches left half empty


def flat(step):
    batch = step.batch
    return [
        tensor.tolist()
        for tensor in (batch.rows, batch.inputs, batch.lengths, batch.tokens, step.labels, step.negatives, step.own)
    ]


def test_an_epoch_is_a_function_of_seed_and_number():
    loader = make()
    first = [flat(step) for step in loader.epoch(1)]
    assert first == [flat(step) for step in make().epoch(1)]
    assert first != [flat(step) for step in loader.epoch(2)]
    assert first != [flat(step) for step in replace(loader, seed=2).epoch(1)]
    orders = [[tuple(read(step)) for step in loader.epoch(number)] for number in (1, 2)]
    assert sorted(orders[0]) != sorted(orders[1])  # users meet others, too


@pytest.mark.parametrize("world_size", [2, 3, 5])
@pytest.mark.parametrize("num_users", [98, 97, 61, 7])
def test_ranks_share_an_epoch(world_size, num_users):
    """Together every user once, and all ranks equally many steps, or a collective would hang."""
    lengths = np.random.default_rng(num_users).integers(2, 30, num_users)
    ranks = [
        list(make(lengths, rank=rank, world_size=world_size, batch_tokens=48).epoch(3)) for rank in range(world_size)
    ]
    assert len({len(steps) for steps in ranks}) == 1
    users = [user for steps in ranks for step in steps for user in read(step)]
    assert sorted(users) == list(range(num_users))
    if len(ranks[0]):
        assert len({tuple(steps[0].batch.rows[steps[0].negatives].tolist()) for steps in ranks}) == world_size


def test_every_step_of_every_epoch_draws_its_own_negatives():
    loader = make()
    drawn = [tuple(step.batch.rows[step.negatives].tolist()) for number in (1, 2, 3) for step in loader.epoch(number)]
    assert len(set(drawn)) == len(drawn)


def test_one_rank_is_the_whole_epoch():
    loader = make(np.full(64, 9))
    alone = [flat(step) for step in loader.epoch(1)]
    assert len(alone) == 8  # divides by the number of ranks
    halves = [[flat(step) for step in replace(loader, rank=rank, world_size=2).epoch(1)] for rank in (0, 1)]
    assert [step for pair in zip(*halves, strict=True) for step in pair] == alone


def test_fewer_users_than_ranks_leave_nobody_waiting():
    for rank in range(3):
        assert list(make(np.array([5, 6]), rank=rank, world_size=3).epoch(1)) == []


def test_to_another_device_keeps_everything():
    step = next(iter(make().epoch(1)))
    assert flat(step.to(torch.device("cpu"))) == flat(step)
