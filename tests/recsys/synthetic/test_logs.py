import numpy as np
import polars as pl
import pytest

from recsys.synthetic.logs import make_log, paired_scores


def test_log_for_scale_tests() -> None:
    log = make_log(seed=0, num_users=2_000, num_items=500, num_events=50_000)
    assert log.equals(make_log(seed=0, num_users=2_000, num_items=500, num_events=50_000))
    assert not log.equals(make_log(seed=1, num_users=2_000, num_items=500, num_events=50_000))
    assert log.schema == {"user_id": pl.Int32, "item_id": pl.Int32, "timestamp": pl.Int64}
    assert log.height == 50_000
    assert log["timestamp"].is_sorted()
    assert log["user_id"].n_unique() == 2_000
    assert log["user_id"].max() == 1_999
    assert log["item_id"].is_between(0, 499).all()
    # Zipf: the most frequent of 500 items has a share of log 2 / log 501.
    top = log["item_id"].value_counts()["count"].max()
    assert top == pytest.approx(50_000 * np.log(2) / np.log(501), rel=0.1)


def test_a_log_with_fewer_events_than_users_is_refused() -> None:
    with pytest.raises(ValueError, match="every user needs at least one event"):
        make_log(seed=0, num_users=10, num_items=5, num_events=9)


def test_paired_scores_differ_by_the_gain_and_are_correlated() -> None:
    even, ahead = (paired_scores(np.random.default_rng(0), 200_000, gain=gain) for gain in (0.0, 0.02))
    assert abs(np.mean(even[0] - even[1])) < 0.002
    assert 0.01 < np.mean(ahead[0] - ahead[1]) < 0.03
    assert 0.3 < np.corrcoef(*even)[0, 1] < 0.7
    assert 0.1 < np.mean(even[0] > 0) < 0.25
