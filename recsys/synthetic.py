"""Synthetic data: a catalogue with planted tastes whose best possible score is known, and plain logs for scale tests.

The world is a library. Each of its ten genres is a shelf in order of year, a ring that begins anew at its end. A reader
has a fixed mixture of genres and never takes a book twice. The next book is

- mostly one of the next few on the shelf, forward in year, after the last book read or the one before it: the direction
  of a history matters, which a similarity of items, being symmetric, cannot see;
- else one of a genre from the reader's mixture, famous books first (Zipf's law within the genre);
- now and then a famous one of any genre.

One item in twenty is cold: on its shelf, but never lent. All probabilities depend on the mixture and the history alone,
so one function both draws the events and ranks the items as well as anyone can. Within a genre, titles come from three
voices that have no word in common.

Shapes: B users, I items, T genres, W books that may follow one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt
import polars as pl

from .data import Jagged
from .errors import InputError

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

FOLLOW, TASTE, NOISE = 0.6, 0.36, 0.04  # shares of the three ways to a next book
LAG_SHARES = (0.7, 0.3)  # which book is followed: the last one, the one before it
NUM_LAGS = len(LAG_SHARES)
NUM_STEPS, STEP_DECAY = 8, 0.72  # the d-th book ahead follows in proportion to STEP_DECAY**d ...
FAME_POWER = 0.7  # ... times its Zipf weight to this power
ZIPF = 1.1  # exponent of fame within a genre
MIXTURE, GENRE_SKEW = 0.2, 0.8  # most readers live in one to three genres; some genres have more of them
MIN_EVENTS, MEDIAN_EVENTS, MAX_EVENTS, LOG_SPREAD = 5, 22, 200, 0.6  # log-normal number of events of a user
COLD_SHARE = 0.05
FIRST_YEAR, LAST_YEAR = 1900, 2024
START, SPAN = 1_640_995_200, 2 * 365 * 86_400  # 2022-01-01 UTC, in seconds; two years
CHUNK = 512  # users at a time: memory stays at a few arrays [CHUNK, I]

VOICES = ("The {} {}", "{} at {}", "A {} {}")
# One line a voice: six first words | six second words, _ for a space.
GENRES = {
    "Mystery": (
        "Crooked Silent Missing Poisoned Forged Locked | Alibi Witness Inspector Ledger Detective Verdict",
        "Murder Footsteps Strangers Blackmail Whispers Arson | Blackmoor Thornfield Scotland_Yard Baskerhall Soho "
        "Oxford",
        "Borrowed Stolen Bloodstained Careless Perfect Cold | Fingerprint Clue Culprit Corpse Confession Ransom",
    ),
    "Space": (
        "Orbital Frozen Last Distant Drifting Binary | Colony Starship Cosmonaut Nebula Android Comet",
        "Mutiny Signals Sunrise Exodus Contact Landfall | Europa Titan Andromeda Proxima Callisto Ganymede",
        "Lightspeed Lunar Galactic Martian Robotic Weightless | Voyage Machine Frontier Beacon Garrison Paradox",
    ),
    "Fantasy": (
        "Copper Sleeping Thorned Moonlit Seventh Elven | Lantern Dragon Throne Sorcerer Oracle Crown",
        "Wizards Prophecy Swords Heirs Griffins Runes | Eldermere Avaloria Stormhold Winterkeep Drakenfell Mistvale",
        "Cursed Runic Goblin Magical Feathered Hidden | Spellbook Amulet Apprentice Kingdom Familiar Quest",
    ),
    "Romance": (
        "Reluctant Secret Summer Runaway Accidental Wedding | Bride Kiss Sweetheart Proposal Duchess Admirer",
        "Moonlight Roses Lovers Serenade Dancing Longing | Lakeside Verona Montmartre Capri Willowbrook Biarritz",
        "Tender Whirlwind Forbidden Charming Paper Blushing | Heart Romance Engagement Valentine Embrace Courtship",
    ),
    "Horror": (
        "Screaming Buried Hungry Crawling Faceless Rotting | Cellar Coffin Thing Mirror Doll Attic",
        "Hauntings Vampires Nightfall Possession Ghouls Bones | Hollow_Hill Gravesend Mordrake Blackwater Ashgrove "
        "Salem",
        "Ghostly Demonic Bleeding Nameless Wicked Shrieking | Presence Seance Nightmare Scarecrow Ritual Skull",
    ),
    "Western": (
        "Dusty Outlaw Painted Lonesome Rusty Quickdraw | Saddle Sheriff Canyon Revolver Trail Posse",
        "Showdown Rustlers Gunfire Cattle Horsemen Gold | Deadwood Abilene Tombstone Laredo Dry_Creek Cheyenne",
        "Wild Hanging Dead Prairie Rawhide Wandering | Bounty Ranger Mustang Bandit Homestead Cowhand",
    ),
    "Seafaring": (
        "Stormy Sunken Salted Drowned Northern Emerald | Schooner Lighthouse Captain Anchor Whaler Mermaid",
        "Pirates Cannons Castaways Doldrums Becalmed Mutineers | Tortuga Cape_Horn Zanzibar Trafalgar Macao Nantucket",
        "Tidal Barnacled Briny Windward Coral Seasick | Harbour Compass Frigate Sailor Lagoon Spyglass",
    ),
    "Cooking": (
        "Slow Rustic Buttered Sunday Smoky Spiced | Kitchen Oven Pantry Casserole Skillet Loaf",
        "Suppers Noodles Pastries Breakfast Chefs Feasting | Bologna Marrakesh Provence Oaxaca Kyoto Lyon",
        "Humble Roasted Vegetarian Peppery Seasonal Candied | Table Recipe Stew Cookbook Orchard Broth",
    ),
    "Mountains": (
        "Icy Vertical Highest Thin Jagged White | Summit Ridge Glacier Rope Crevasse Ascent",
        "Climbers Blizzard Stranded Camping Eagles Vertigo | Everest Annapurna Chamonix Denali Eiger Aconcagua",
        "Steep Granite Perilous Highland Breathless Rocky | Pass Peak Bivouac Descent Expedition Cliff",
    ),
    "Music": (
        "Blue Velvet Electric Muted Swinging Brass | Trumpet Quartet Encore Saxophone Jukebox Bassline",
        "Jazz Rehearsals Improvising Drummers Singing Chords | Harlem Carnegie_Hall Vienna Bayreuth Birdland "
        "Abbey_Road",
        "Syncopated Minor Baroque Virtuoso Whistled Choral | Sonata Concerto Violin Nocturne Refrain Rhapsody",
    ),
}
MOODS = ("dark", "witty", "unhurried", "hopeful", "epic", "quiet", "tense", "nostalgic", "strange", "warm", "playful")
COUNTRIES = ("Brazil", "Canada", "Germany", "India", "Japan", "Kenya")


@dataclass(frozen=True)
class Truth:
    """The probabilities that made a world: what a model has to find.

    mixture: [U, T] each reader's genres, rows add up to 1. popularity: [T, I] each genre's books, rows add up to 1, 0
    for cold items. follower, follower_share: [I, W] the rows of the books that may follow a book, and their shares.
    """

    mixture: Float64
    popularity: Float64
    follower: Int64
    follower_share: Float64

    def next_item_weights(self, user_rows: Int64, recent_BL: Int64) -> Float64:
        """[B, I] float64: the probability of each next item, but for a constant and for the items already read.

        recent_BL: rows of each user's last items, the latest first, -1 where there is none.
        """
        weight_BI = (TASTE * self.mixture[user_rows] + NOISE / len(GENRES)) @ self.popularity
        for lag, share in enumerate(LAG_SHARES):
            (query,) = np.nonzero(recent_BL[:, lag] >= 0)
            item = recent_BL[query, lag]
            weight_BI[query[:, None], self.follower[item]] += FOLLOW * share * self.follower_share[item]
        return weight_BI


@dataclass(frozen=True)
class World:
    """A catalogue, its readers, their log and the truth behind it.

    events: user_id, item_id (str), timestamp (int64, unix seconds), in order of time; no user has an item twice.
    items: item_id, title, genre (str), tags (list[str]), year (int64); a twentieth of them is cold: not in events.
    users: user_id, country (str).
    """

    events: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    truth: Truth

    def best_ranking(self, user_ids: Sequence[str], histories: Sequence[Sequence[str]], k: int) -> npt.NDArray[np.str_]:
        """The k most probable next items per query, most probable first, none of its history: [len(user_ids), k] ids.

        ``histories`` are whole and in time order. The ranking knows the user's true mixture and the history, which is
        all that the next item depends on: no other has a higher expected NDCG, recall or MRR (the probability ranking
        principle, Robertson 1977). Ties (cold items, all at zero) are in catalogue order. Raises InputError for an id
        that is not of this world, and for a k that a history leaves no room for.
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
    """Draw a world of about 26 events a user; the same arguments give the same frames, and another seed another world.

    Memory: a few arrays [512, num_items] and [num_users, 200]. Raises InputError for a catalogue that is too small to
    have shelves, and for no users at all.
    """
    if num_users < 1 or num_items < 20 * len(GENRES):
        raise InputError(
            f"a world of {num_users} users and {num_items} items is too small; "
            f"ask for at least 1 user and {20 * len(GENRES)} items"
        )
    rng = np.random.default_rng(seed)
    items, genre_I, age_I = _draw_items(rng, num_items)
    users, mixture_UT = _draw_users(rng, num_users)
    truth = _draw_truth(rng, mixture_UT, genre_I, age_I)
    lengths = np.exp(rng.normal(np.log(MEDIAN_EVENTS), LOG_SPREAD, num_users)).astype(np.int64)
    lengths = np.clip(lengths, MIN_EVENTS, min(MAX_EVENTS, num_items // 4))
    read = Jagged.from_lengths(_draw_histories(rng, truth, lengths), lengths)
    seconds = _draw_seconds(rng, lengths)
    order = np.argsort(seconds, kind="stable")
    events = pl.DataFrame(
        {
            "user_id": users["user_id"].gather(read.row_of_value[order]),
            "item_id": items["item_id"].gather(read.values[order]),
            "timestamp": seconds[order],
        }
    )
    return World(events, items, users, truth)


def _draw_items(rng: np.random.Generator, num_items: int) -> tuple[pl.DataFrame, Int64, Float64]:
    """The items frame, each item's genre as a number, and its exact place in time from 0 to 1."""
    genre_I = rng.permutation(np.arange(num_items) % len(GENRES))
    age_I = rng.random(num_items) ** 0.7  # more recent books than old ones
    titles = [_titles(rng, voices) for voices in GENRES.values()]
    moods = np.array(MOODS)
    return (
        pl.DataFrame(
            {
                "item_id": [f"i{row:05d}" for row in range(num_items)],
                "title": [next(titles[genre]) for genre in genre_I],
                "genre": np.array(list(GENRES))[genre_I],
                "tags": [
                    # Two moods of the four that its genre is known for, and one of any.
                    sorted({*moods[(genre + rng.choice(4, 2, replace=False)) % len(moods)], rng.choice(moods)})
                    for genre in genre_I
                ],
                "year": (FIRST_YEAR + age_I * (LAST_YEAR - FIRST_YEAR)).astype(np.int64),
            }
        ),
        genre_I,
        age_I,
    )


def _titles(rng: np.random.Generator, voices: tuple[str, ...]) -> Iterator[str]:
    """All titles of a genre in random order, then the same again as second volumes, and so on."""
    titles = [
        pattern.format(first, second).replace("_", " ")
        for pattern, words in zip(VOICES, voices, strict=True)
        for first in words.split(" | ")[0].split()
        for second in words.split(" | ")[1].split()
    ]
    order = rng.permutation(len(titles))
    for volume in count(1):
        yield from (titles[place] + (f", Vol. {volume}" if volume > 1 else "") for place in order)


def _draw_users(rng: np.random.Generator, num_users: int) -> tuple[pl.DataFrame, Float64]:
    """The users frame and mixture_UT: sparse Dirichlet mixtures, leaning to the two genres that a country favours."""
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


def _draw_truth(rng: np.random.Generator, mixture_UT: Float64, genre_I: Int64, age_I: Float64) -> Truth:
    """Fame by Zipf's law within each genre; the next warm books on a shelf may follow, near and famous ones first."""
    num_items = len(genre_I)
    cold = rng.permutation(num_items) < COLD_SHARE * num_items
    popularity_TI = np.zeros((len(GENRES), num_items))
    follower_IW = np.zeros((num_items, NUM_STEPS), np.int64)
    follower_share_IW = np.zeros((num_items, NUM_STEPS))
    for genre in range(len(GENRES)):
        (shelf,) = np.nonzero((genre_I == genre) & ~cold)
        shelf = shelf[np.argsort(age_I[shelf])]
        fame = (1.0 + rng.permutation(len(shelf))) ** -ZIPF
        popularity_TI[genre, shelf] = fame / fame.sum()
        steps = np.arange(1, NUM_STEPS + 1)
        ahead = (np.arange(len(shelf))[:, None] + steps) % len(shelf)
        share = STEP_DECAY**steps * fame[ahead] ** FAME_POWER
        follower_IW[shelf] = shelf[ahead]
        follower_share_IW[shelf] = share / share.sum(axis=1, keepdims=True)
    return Truth(mixture_UT, popularity_TI, follower_IW, follower_share_IW)


def _draw_histories(rng: np.random.Generator, truth: Truth, lengths: Int64) -> Int64:
    """Item rows of all users' events, user after user, each in order: one event of a whole chunk of users at a time."""
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
    """Unix seconds of all users' events, rising strictly within a user, who comes and goes within the two years."""
    user = np.repeat(np.arange(len(lengths)), lengths)
    come_U, go_U = np.sort(rng.random((2, len(lengths))), axis=0)
    moment = come_U[user] + rng.random(len(user)) * (go_U - come_U)[user]
    moment = moment[np.lexsort((moment, user))]
    event = np.arange(len(user)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    second: Int64 = START + (moment * SPAN).astype(np.int64)
    return second + event


def make_log(*, seed: int, num_users: int, num_items: int, num_events: int) -> pl.DataFrame:
    """A log without structure, for measuring speed and memory, in order of time.

    Columns user_id, item_id (int32, from 0) and timestamp (int64, unix seconds over two years; ties occur). Log-normal
    users with at least one event each, items by Zipf's law (exponent 1); repeats occur. Memory: about 30 bytes an event
    while it is made, 16 after. Raises InputError for fewer events than users.
    """
    if not 1 <= num_users <= num_events:
        raise InputError(f"{num_events} events for {num_users} users; every user needs at least one event")
    rng = np.random.default_rng(seed)
    activity = np.cumsum(rng.lognormal(0.0, 1.0, num_users))
    share = np.rint(activity * ((num_events - num_users) / activity[-1])).astype(np.int64)
    user = np.repeat(np.arange(num_users, dtype=np.int32), 1 + np.diff(share, prepend=0))
    rng.shuffle(user)
    # Inverse distribution function of density 1/x on [1, num_items + 1), then fame is dealt at random.
    fame = np.exp(rng.random(num_events, np.float32) * np.log(num_items + 1, dtype=np.float32)).astype(np.int32)
    item = rng.permutation(np.arange(num_items, dtype=np.int32))[np.minimum(fame, num_items) - 1]
    del fame
    seconds = np.cumsum(rng.standard_exponential(num_events, np.float32), dtype=np.float64)
    seconds *= SPAN / seconds[-1]
    seconds += START
    return pl.DataFrame({"user_id": user, "item_id": item, "timestamp": seconds.astype(np.int64)})


def paired_scores(rng: np.random.Generator, num_queries: int, *, gain: float = 0.0) -> tuple[Float64, Float64]:
    """NDCG@10 of two imagined models on the same queries, [num_queries] float64 each: mostly 0, and correlated.

    Both rank the one target geometrically (one query in five or six is a hit); half of the ranks are the same in
    both. The first model hits a share of ``gain`` / 0.4 more of the queries, at rank 3 or better.
    """
    rank = rng.geometric(0.02, num_queries)
    other = np.where(rng.random(num_queries) < 0.5, rank, rng.geometric(0.02, num_queries))
    first, second = (np.where(each <= 10, 1 / np.log2(each + 1.0), 0.0) for each in (rank, other))
    return np.where(rng.random(num_queries) < gain / 0.4, np.maximum(first, 0.5), first), second
