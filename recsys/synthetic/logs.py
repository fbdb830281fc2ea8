"""Synthetic inputs without structure: logs for measuring speed and memory, and scores for testing statistics."""

import numpy as np
import numpy.typing as npt
import polars as pl

from ..errors import InputError

Float64 = npt.NDArray[np.float64]
START, SPAN = 1_640_995_200, 2 * 365 * 86_400  # 2022-01-01 UTC, in seconds; two years


def make_log(*, seed: int, num_users: int, num_items: int, num_events: int) -> pl.DataFrame:
    """Draw a log in order of time, with about 30 bytes of memory per event while it is made and 16 after.

    Returns:
        user_id and item_id (int32, from 0) and timestamp (int64, Unix seconds over two years; ties occur). The activity
        of users is log-normal, with at least one event each; items follow Zipf's law with exponent 1; repeats occur.

    Raises:
        InputError: There are fewer events than users.
    """
    if not 1 <= num_users <= num_events:
        raise InputError(f"{num_events} events for {num_users} users; every user needs at least one event")
    rng = np.random.default_rng(seed)
    activity = np.cumsum(rng.lognormal(0.0, 1.0, num_users))
    num_extra = np.rint(activity * ((num_events - num_users) / activity[-1])).astype(np.int64)
    user = np.repeat(np.arange(num_users, dtype=np.int32), 1 + np.diff(num_extra, prepend=0))
    rng.shuffle(user)
    # the inverse distribution function of the density 1/x on [1, num_items + 1); then ranks of fame get random items
    fame_rank = np.exp(rng.random(num_events, np.float32) * np.log(num_items + 1, dtype=np.float32)).astype(np.int32)
    item = rng.permutation(np.arange(num_items, dtype=np.int32))[np.minimum(fame_rank, num_items) - 1]
    del fame_rank
    seconds = np.cumsum(rng.standard_exponential(num_events, np.float32), dtype=np.float64)
    seconds *= SPAN / seconds[-1]
    seconds += START
    return pl.DataFrame({"user_id": user, "item_id": item, "timestamp": seconds.astype(np.int64)})


def paired_scores(rng: np.random.Generator, num_queries: int, *, gain: float = 0.0) -> tuple[Float64, Float64]:
    """Draw the NDCG@10 of two imagined models on the same queries.

    Args:
        rng: The source of randomness.
        num_queries: The length of both results.
        gain: The first model finds the target of a share ``gain / 0.4`` more of the queries, at rank 3 or better.

    Returns:
        [num_queries] float64 each: mostly 0, and correlated. Both models rank the one target geometrically (one query
        in five or six is a hit), and half of the ranks are the same in both.
    """
    first_rank = rng.geometric(0.02, num_queries)
    second_rank = np.where(rng.random(num_queries) < 0.5, first_rank, rng.geometric(0.02, num_queries))
    first, second = (np.where(rank <= 10, 1 / np.log2(rank + 1.0), 0.0) for rank in (first_rank, second_rank))
    return np.where(rng.random(num_queries) < gain / 0.4, np.maximum(first, 0.5), first), second
