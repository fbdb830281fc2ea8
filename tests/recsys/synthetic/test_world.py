import numpy as np
import polars as pl
import pytest

from recsys.synthetic.titles import GENRES
from recsys.synthetic.world import FOLLOW, LAG_SHARES, World, make_world


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(seed=0, num_users=600, num_items=400)


@pytest.fixture(scope="module")
def reads(world: World) -> pl.DataFrame:
    """One row per user: user_id, history (all but the last item), target."""
    lists = world.events.group_by("user_id", maintain_order=True).agg("item_id").sort("user_id")
    items = pl.col("item_id").list
    return lists.select("user_id", history=items.head(items.len() - 1), target=items.last())


def ndcg(ranked: np.ndarray, targets: list[str]) -> float:
    """Mean over queries of 1 / log2(1 + rank) of the only relevant item, 0 where it is not among the ranked."""
    hit = ranked == np.array(targets)[:, None]
    return float((hit / np.log2(2 + np.arange(ranked.shape[1]))).sum(axis=1).mean())


def test_same_seed_same_frames(world: World) -> None:
    again = make_world(seed=0, num_users=600, num_items=400)
    other = make_world(seed=1, num_users=600, num_items=400)
    for name in ("events", "items", "users"):
        assert getattr(world, name).equals(getattr(again, name))
        assert not getattr(world, name).equals(getattr(other, name))


def test_columns_and_dtypes(world: World) -> None:
    assert world.events.schema == {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64}
    assert world.items.schema == {
        "item_id": pl.String,
        "title": pl.String,
        "genre": pl.String,
        "tags": pl.List(pl.String),
        "year": pl.Int64,
    }
    assert world.users.schema == {"user_id": pl.String, "country": pl.String}
    for frame in (world.events, world.items, world.users):
        assert sum(frame.null_count().row(0)) == 0
    assert world.items.height == 400
    assert world.users.height == 600
    assert world.items["genre"].n_unique() == len(GENRES)
    assert world.items["year"].is_between(1900, 2024).all()
    assert world.items["tags"].list.len().is_between(2, 3).all()


def test_log_is_in_order_and_no_user_repeats_an_item(world: World) -> None:
    assert world.events["timestamp"].is_sorted()
    assert not world.events.select("user_id", "item_id").is_duplicated().any()
    within_user = world.events.select(pl.col("timestamp").diff().over("user_id"))["timestamp"].drop_nulls()
    assert (within_user > 0).all()
    counts = world.events["user_id"].value_counts()["count"]
    assert len(counts) == 600
    assert counts.min() >= 5
    assert 20 < counts.mean() < 30


def test_cold_items_have_no_event_and_all_others_have(world: World) -> None:
    seen = set(world.events["item_id"])
    cold = set(world.items["item_id"]) - seen
    assert len(cold) >= 20
    assert seen < set(world.items["item_id"])
    large = make_world(seed=3)
    assert large.items.height - large.events["item_id"].n_unique() == 0.05 * large.items.height


def test_truth_is_a_probability(world: World) -> None:
    truth = world.truth
    np.testing.assert_allclose(truth.mixture.sum(axis=1), 1)
    np.testing.assert_allclose(truth.popularity.sum(axis=1), 1)
    users, items = np.array([0, 1, 2]), np.array([[5, 6], [7, -1], [-1, -1]])
    warm = np.flatnonzero(truth.popularity.sum(axis=0) > 0)
    weights = truth.next_item_weights(users, np.where(items >= 0, warm[items], -1))
    # The share of a book that is not there to be followed is missing; the rest is scaled up when an item is drawn.
    np.testing.assert_allclose(weights.sum(axis=1), [1.0, 1.0 - FOLLOW * LAG_SHARES[1], 1.0 - FOLLOW])


def test_best_ranking_leaves_the_history_out(world: World, reads: pl.DataFrame) -> None:
    ranked = world.best_ranking(reads["user_id"].to_list(), reads["history"].to_list(), 50)
    assert ranked.shape == (600, 50)
    for row, history in zip(ranked.tolist(), reads["history"].to_list(), strict=True):
        assert len(set(row)) == 50
        assert not set(row) & set(history)


def test_best_ranking_of_one_is_that_of_many(world: World, reads: pl.DataFrame) -> None:
    ranked = world.best_ranking(reads["user_id"].to_list(), reads["history"].to_list(), 10)
    for row in (0, 511, 512, 599):
        alone = world.best_ranking([reads["user_id"][row]], [reads["history"][row].to_list()], 10)
        assert alone[0].tolist() == ranked[row].tolist()
    assert world.best_ranking([], [], 10).shape == (0, 10)
    assert world.best_ranking(["u00000"], [[]], 10).shape == (1, 10)


def test_best_ranking_is_far_above_popularity_and_above_any_blurred_truth(world: World, reads: pl.DataFrame) -> None:
    users, histories, targets = (reads[name].to_list() for name in ("user_id", "history", "target"))
    best = ndcg(world.best_ranking(users, histories, 10), targets)
    popular = world.events["item_id"].value_counts().sort("count", "item_id", descending=True)["item_id"].to_list()
    unseen = [[item for item in popular[:250] if item not in set(history)][:10] for history in histories]
    assert ndcg(np.array(unseen), targets) < 0.3 * best
    forgetful = world.best_ranking(users, [history[:-1] for history in histories], 10)
    assert ndcg(forgetful, targets) < 0.7 * best
    backwards = world.best_ranking(users, [history[::-1] for history in histories], 10)
    assert ndcg(backwards, targets) < 0.7 * best
    strangers = world.best_ranking(users[1:] + users[:1], histories, 10)
    assert ndcg(strangers, targets) < best


def test_bad_requests_say_what_to_do(world: World) -> None:
    with pytest.raises(ValueError, match="'i99999' is no user or item of this world"):
        world.best_ranking(["u00000"], [["i99999"]], 10)
    with pytest.raises(ValueError, match="leaves 399 items"):
        world.best_ranking(["u00000"], [["i00000"]], 400)
    with pytest.raises(ValueError, match="at least 1 user and 200 items"):
        make_world(seed=0, num_users=10, num_items=100)
