"""A synthetic library with planted tastes, in which the best possible score is known.

Each of its ten genres is a shelf in order of year, a ring that starts again at its end. A reader has a fixed mixture of
genres and never takes a book twice. The next book is

- mostly one of the next few on the shelf, forward in year, after the last book read or the one before it: the direction
  of a history matters, and a similarity of items, being symmetric, cannot see it;
- otherwise one of a genre from the reader's mixture, famous books first (Zipf's law within the genre);
- now and then a famous one of any genre.

One item in twenty is cold: it is on its shelf, but never lent. All probabilities depend on the mixture and the history
alone, so that one function both draws the events and gives the best possible ranking.

Shapes: B users at a time, U users, I items, T genres, L last events, W books that may follow one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ..data import Jagged
from ..errors import InputError
from .titles import GENRES, draw_titles

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

FOLLOW, TASTE, NOISE = 0.6, 0.36, 0.04  # shares of the three ways to the next book
LAG_SHARES = (0.7, 0.3)  # the book that is followed: the last one, the one before it
NUM_LAGS = len(LAG_SHARES)
NUM_STEPS, STEP_DECAY = 8, 0.72  # the d-th book ahead follows in proportion to STEP_DECAY**d ...
FAME_POWER = 0.7  # ... times its Zipf weight to this power
ZIPF = 1.1  # exponent of fame within a genre
MIXTURE, GENRE_SKEW = 0.2, 0.8  # most readers keep to one to three genres; some genres have more readers
MIN_EVENTS, MEDIAN_EVENTS, MAX_EVENTS, LOG_SPREAD = 5, 22, 200, 0.6  # log-normal number of events of a user
COLD_SHARE = 0.05
FIRST_YEAR, LAST_YEAR = 1900, 2024
START, SPAN = 1_640_995_200, 2 * 365 * 86_400  # 2022-01-01 UTC, in seconds; two years
CHUNK = 512  # users at a time: memory stays at a few arrays [CHUNK, I]

MOODS = ("dark", "witty", "unhurried", "hopeful", "epic", "quiet", "tense", "nostalgic", "strange", "warm", "playful")
COUNTRIES = ("Brazil", "Canada", "Germany", "India", "Japan", "Kenya")


@dataclass(frozen=True)
class Truth:
    """The probabilities behind a world, which a model has to find.

    Attributes:
        mixture: [U, T] each reader's genres; rows add up to 1.
        popularity: [T, I] each genre's books; rows add up to 1, cold items have 0.
        follower, follower_share: [I, W] the rows of the books that may follow a book, and their shares.
    """

    mixture: Float64
    popularity: Float64
    follower: Int64
    follower_share: Float64

    def next_item_weights(self, user_rows: Int64, recent_BL: Int64) -> Float64:
        """The probability of each next item, up to a constant factor, and before the items of the history are excluded.

        Args:
            user_rows: [B] int64 rows of the users.
            recent_BL: [B, L] int64 rows of each user's last items, the latest first, -1 if there is none.

        Returns:
            [B, I] float64.
        """
        weight_BI = (TASTE * self.mixture[user_rows] + NOISE / len(GENRES)) @ self.popularity
        for lag, share in enumerate(LAG_SHARES):
            (user,) = np.nonzero(recent_BL[:, lag] >= 0)
            item = recent_BL[user, lag]
            weight_BI[user[:, None], self.follower[item]] += FOLLOW * share * self.follower_share[item]
        return weight_BI


@dataclass(frozen=True)
class World:
    """A catalogue, its readers, their log and the truth behind it.

    Attributes:
        events: user_id, item_id (str), timestamp (int64, Unix seconds), in order of time; no user has an item twice.
        items: item_id, title, genre (str), tags (list[str]), year (int64); a twentieth of them is cold: not in events.
        users: user_id, country (str).
        truth: The probabilities that drew the events.
    """

    events: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    truth: Truth

    def best_ranking(self, user_ids: Sequence[str], histories: Sequence[Sequence[str]], k: int) -> npt.NDArray[np.str_]:
        """The k most probable next items of each query, most probable first, none of them from its history.

        The ranking knows the user's true mixture and the history, and the next item depends on nothing else. So no
        other ranking has a higher expected NDCG, recall or MRR (the probability ranking principle, Robertson 1977).
        Ties (cold items, all at zero) are in catalogue order.

        Args:
            user_ids: One per query.
            histories: Whole histories, oldest first.
            k: The number of items per query.

        Returns:
            [num_queries, k] item ids.

        Raises:
            InputError: An id is not of this world, or a history leaves fewer than k items.
        """
        item_ids = self.items["item_id"].to_numpy().astype(np.str_)
        item_rows = {item_id: row for row, item_id in enumerate(item_ids.tolist())}
        user_rows = {user_id: row for row, user_id in enumerate(self.users["user_id"].to_list())}
        best = np.empty((len(user_ids), k), item_ids.dtype)
        for start in range(0, len(user_ids), CHUNK):
            chunk = slice(start, start + CHUNK)
            try:
                users = np.array([user_rows[user_id] for user_id in user_ids[chunk]])
                rows = [[item_rows[item_id] for item_id in history] for history in histories[chunk]]
            except KeyError as error:
                raise InputError(f"{error} is no user or item of this world; take ids from its own frames") from None
            room = len(item_ids) - max(map(len, rows))
            if k > room:
                raise InputError(f"k is {k}, but the longest history leaves {room} items; ask for at most {room}")
            recent_BL = np.array([[-1] * max(0, NUM_LAGS - len(row)) + row[-NUM_LAGS:] for row in rows])[:, ::-1]
            rank_BI = -self.truth.next_item_weights(users, recent_BL)
            seen = Jagged.from_rows(rows)
            rank_BI[seen.row_of_value, seen.values] = 1.0
            best[chunk] = item_ids[np.argsort(rank_BI, axis=1, kind="stable")[:, :k]]
        return best


def make_world(*, seed: int, num_users: int = 5_000, num_items: int = 1_000) -> World:
    """Draw a world of about 26 events per user; the same arguments give the same frames.

    Memory: a few arrays [512, num_items] and [num_users, 200].

    Raises:
        InputError: There is no user, or the catalogue is too small to fill the shelves.
    """
    if num_users < 1 or num_items < 20 * len(GENRES):
        raise InputError(
            f"a world of {num_users} users and {num_items} items is too small; "
            f"ask for at least 1 user and {20 * len(GENRES)} items"
        )
    rng = np.random.default_rng(seed)
    items = _draw_items(rng, num_items)
    users, mixture_UT = _draw_users(rng, num_users)
    truth = _draw_truth(rng, mixture_UT, items)
    lengths = np.exp(rng.normal(np.log(MEDIAN_EVENTS), LOG_SPREAD, num_users)).astype(np.int64)
    lengths = np.clip(lengths, MIN_EVENTS, min(MAX_EVENTS, num_items // 4))
    read = Jagged.from_lengths(_draw_histories(rng, truth, lengths), lengths)
    seconds = _draw_seconds(rng, lengths)
    order = np.argsort(seconds, kind="stable")
    events = pl.DataFrame(
        {
            "user_id": users["user_id"].gather(read.row_of_value[order]),
            "item_id": items.table["item_id"].gather(read.values[order]),
            "timestamp": seconds[order],
        }
    )
    return World(events, items.table, users, truth)


@dataclass(frozen=True)
class _Items:
    """The items frame, [I] each item's genre as a number, and [I] its time of publication from 0 to 1."""

    table: pl.DataFrame
    genre: Int64
    age: Float64


def _draw_items(rng: np.random.Generator, num_items: int) -> _Items:
    genre_I = rng.permutation(np.arange(num_items) % len(GENRES))
    age_I = rng.random(num_items) ** 0.7  # more recent books than old ones
    titles = [draw_titles(rng, genre) for genre in GENRES]
    moods = np.array(MOODS)
    return _Items(
        pl.DataFrame(
            {
                "item_id": [f"i{row:05d}" for row in range(num_items)],
                "title": [next(titles[genre]) for genre in genre_I],
                "genre": np.array(list(GENRES))[genre_I],
                "tags": [
                    # two of the four moods that its genre is known for, and one of all
                    sorted({*moods[(genre + rng.choice(4, 2, replace=False)) % len(moods)], rng.choice(moods)})
                    for genre in genre_I
                ],
                "year": (FIRST_YEAR + age_I * (LAST_YEAR - FIRST_YEAR)).astype(np.int64),
            }
        ),
        genre_I,
        age_I,
    )


def _draw_users(rng: np.random.Generator, num_users: int) -> tuple[pl.DataFrame, Float64]:
    """The users frame, and mixture_UT: sparse Dirichlet mixtures that lean towards two genres of the user's country."""
    country_U = rng.integers(len(COUNTRIES), size=num_users)
    leaning = np.full((len(COUNTRIES), len(GENRES)), MIXTURE) * np.arange(1, len(GENRES) + 1) ** -GENRE_SKEW
    for country, row in enumerate(leaning):
        row[[country, (country + 4) % len(GENRES)]] *= 3
    gamma_UT = rng.standard_gamma(leaning[country_U]) + 1e-9
    users = pl.DataFrame(
        {
            "user_id": [f"u{row:05d}" for row in range(num_users)],
            "country": np.array(COUNTRIES)[country_U],
        }
    )
    return users, gamma_UT / gamma_UT.sum(axis=1, keepdims=True)


def _draw_truth(rng: np.random.Generator, mixture_UT: Float64, items: _Items) -> Truth:
    """Fame follows Zipf's law within a genre; the next warm books on a shelf may follow, near and famous ones first."""
    num_items = len(items.genre)
    cold = rng.permutation(num_items) < COLD_SHARE * num_items
    popularity_TI = np.zeros((len(GENRES), num_items))
    follower_IW = np.zeros((num_items, NUM_STEPS), np.int64)
    follower_share_IW = np.zeros((num_items, NUM_STEPS))
    for genre in range(len(GENRES)):
        (shelf,) = np.nonzero((items.genre == genre) & ~cold)
        shelf = shelf[np.argsort(items.age[shelf])]
        fame = (1.0 + rng.permutation(len(shelf))) ** -ZIPF
        popularity_TI[genre, shelf] = fame / fame.sum()
        steps = np.arange(1, NUM_STEPS + 1)
        ahead = (np.arange(len(shelf))[:, None] + steps) % len(shelf)
        share = STEP_DECAY**steps * fame[ahead] ** FAME_POWER
        follower_IW[shelf] = shelf[ahead]
        follower_share_IW[shelf] = share / share.sum(axis=1, keepdims=True)
    return Truth(mixture_UT, popularity_TI, follower_IW, follower_share_IW)


def _draw_histories(rng: np.random.Generator, truth: Truth, lengths: Int64) -> Int64:
    """Item rows of all events, user after user, oldest first; drawn one event of a whole chunk of users at a time."""
    events_UL = np.full((len(lengths), lengths.max() + NUM_LAGS), -1)
    by_length = np.argsort(-lengths, kind="stable")
    for start in range(0, len(lengths), CHUNK):
        chunk = by_length[start : start + CHUNK]
        unread_BI = np.ones((len(chunk), truth.popularity.shape[1]))
        for event in range(lengths[chunk[0]]):
            users = chunk[lengths[chunk] > event]  # the first rows of the chunk, since it is sorted by length
            recent_BL = events_UL[users, event : event + NUM_LAGS][:, ::-1]
            sum_BI = np.cumsum(truth.next_item_weights(users, recent_BL) * unread_BI[: len(users)], axis=1)
            item = (sum_BI > rng.random((len(users), 1)) * sum_BI[:, -1:]).argmax(axis=1)
            unread_BI[np.arange(len(users)), item] = 0.0
            events_UL[users, event + NUM_LAGS] = item
    return events_UL[events_UL >= 0]


def _draw_seconds(rng: np.random.Generator, lengths: Int64) -> Int64:
    """Unix seconds of all events, strictly ascending within a user, who comes and goes within the two years."""
    user = np.repeat(np.arange(len(lengths)), lengths)
    come_U, go_U = np.sort(rng.random((2, len(lengths))), axis=0)
    moment = come_U[user] + rng.random(len(user)) * (go_U - come_U)[user]
    moment = moment[np.lexsort((moment, user))]
    event = np.arange(len(user)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    second: Int64 = START + (moment * SPAN).astype(np.int64)
    return second + event
