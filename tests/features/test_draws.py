"""What is held out depends on the seed and an id alone."""

import numpy as np
import polars as pl

from features.draws import draw, hold_out_items
from recsys.config import SplitConfig


def test_items_are_drawn_by_seed_and_id() -> None:
    ids = pl.Series("item_id", [f"item {number}" for number in range(3_000)])
    held_out = hold_out_items(SplitConfig(), ids, 100_000)
    assert 0.08 < held_out.mean() < 0.12
    np.testing.assert_array_equal(hold_out_items(SplitConfig(), ids.reverse(), 100_000), held_out[::-1])
    assert (hold_out_items(SplitConfig(seed=1), ids, 100_000) != held_out).any()


def test_of_few_events_more_are_held_out() -> None:
    ids = pl.Series("item_id", range(3_000))
    shares = [hold_out_items(SplitConfig(), ids, num_events).mean() for num_events in (100, 1_000, 100_000)]
    np.testing.assert_allclose(shares, [1 / 3, 0.2, 0.1], atol=0.03)
    assert hold_out_items(SplitConfig(validation_share=0.5), ids, 100).mean() > 0.45


def test_draws_are_uniform_and_differ_by_what_is_drawn() -> None:
    crc, number = np.arange(4_000, dtype=np.uint64), np.zeros(4_000, np.int64)
    uniform = draw(7, crc, number) / 2.0**64
    assert abs(uniform.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(uniform, draw(7, crc, number + 1) / 2.0**64)[0, 1]) < 0.05
