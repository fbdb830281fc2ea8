"""Random numbers that decide what is held out: each is a hash of the seed and an id, whatever else is in the log."""

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.config import SplitConfig
from recsys.data import Int64, UserEvents, crc32_of_ids

UInt64 = npt.NDArray[np.uint64]
ENOUGH = 200
EVENTS_OF_USER, USER, ITEM = -1, -2, -3  # what is drawn, where no event's number says it


def draw_users(split: SplitConfig, grouped: UserEvents) -> npt.NDArray[np.float64]:
    """[num_users] uniform random numbers from 0 to 1, each a function of the seed and a user's id."""
    return _draw_ids(split.seed, grouped.user_ids, USER)


def hold_out_items(split: SplitConfig, item_ids: pl.Series, num_events: int) -> npt.NDArray[np.bool_]:
    """[num_items] bool: a random share of the items, each by the seed and its id.

    The share is ``validation_share``, and more, up to a third, where that would hold out less than ENOUGH of the
    ``num_events`` events: fewer can hardly tell one model from another.
    """
    share = max(split.validation_share, min(1 / 3, ENOUGH / num_events))
    return _draw_ids(split.seed, item_ids, ITEM) < share


def _draw_ids(seed: int, ids: pl.Series, kind: int) -> npt.NDArray[np.float64]:
    crc = crc32_of_ids(ids).astype(np.uint64)
    return draw(seed, crc, np.full(len(crc), kind)) / 2.0**64


def draw(seed: int, user_crc: UInt64, event_number: Int64) -> UInt64:
    """[n] uint64 uniform random numbers, each a hash of the seed, a user and a number such as an event's."""
    return _splitmix64(
        _splitmix64(_splitmix64(np.full(1, seed, np.uint64)) + user_crc) + event_number.astype(np.uint64)
    )


def _splitmix64(state: UInt64) -> UInt64:
    """One step of splitmix64 (Steele, Lea and Flood 2014); uint64 arithmetic wraps around."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
