"""The dataset artifact: a folder that a feature job writes once, and that training reads memory-mapped.

    manifest.json             fingerprint of the inputs, configuration, counts; written last
    quarantine.parquet        the rejected rows of the log, with the reason
    train/encoder.json        num_trained and the fitted transforms
    train/items.arrow         item_id, count: the trained items
    train/shard-00000.arrow   user_id, positions: training histories, one row per user, one file per shard; in ordered
                              data also until, the time of the last event
    catalogue/items.arrow     item_id and the raw metadata, in catalogue order
    catalogue/features.arrow  the encoded item features, in catalogue order
    catalogue/users.arrow     user_id and the encoded user features
    catalogue/user_texts.arrow  text: what the text features of each user say, as it is; only where there are any
    catalogue/logged.arrow    item_id: the distinct ids of the whole log, sorted
    validation/, test/        frozen queries: user_id, history, targets (rows of logged.arrow), one file per shard; in
                              ordered data also since and until, the times of the first and of the last target

Nothing under train/ depends on an event after the cut.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa

from ..buckets import fetched
from ..config import Config
from ..errors import InputError
from ..files import input_error_if_damaged
from ..partial_files import appearing
from ..paths import bucket_address
from .encoder import Encoder
from .factorize import Int32, Int64, lookup_rows, take_in_blocks
from .jagged import Jagged, as_list_column, flatten_lists
from .jagged_parts import JaggedParts, ValidatedHistories
from .manifest import DatasetManifest

QueryPart = Literal["validation", "test"]
_LISTS = ("history", "targets")


def write_arrow(frame: pl.DataFrame, path: Path) -> None:
    """Write Arrow IPC, uncompressed and in one chunk, so that a reader can map it."""
    with appearing(path) as temporary:
        frame.rechunk().write_ipc(temporary, compression="uncompressed", record_batch_size=max(frame.height, 1))


def read_arrow(path: Path) -> pl.DataFrame:
    """Map a table that ``write_arrow`` wrote."""
    with input_error_if_damaged(path):
        table = pl.from_arrow(pa.ipc.open_file(pa.memory_map(str(path))).read_all(), rechunk=False)
    assert isinstance(table, pl.DataFrame)
    return table


@dataclass(frozen=True)
class Dataset:
    """An opened dataset artifact.

    Attributes:
        path: Its folder on this machine.
        address: Where it was opened from, if that is a bucket.
        manifest: What it says about itself.
        encoder: Its items and fitted features.
        item_counts: [num_items + 1] int64 training events per catalogue position; 0 for unknown and cold items.
        with_validation: Whether training histories include the targets of the validation queries.
    """

    path: Path
    manifest: DatasetManifest
    encoder: Encoder
    item_counts: Int64
    with_validation: bool = False
    address: str | None = None

    @staticmethod
    def open(location: str | Path) -> "Dataset":
        """Open a folder that ``recsys build`` wrote; one in a bucket by way of a copy on this machine.

        Raises:
            InputError: There is no finished dataset of this format.
        """
        address = bucket_address(location)
        path = Path(location) if address is None else fetched(address)
        if address is not None and not (path / "manifest.json").is_file():
            raise InputError(f"no dataset at {address}; expected the address that `recsys build --out` was given")
        manifest = DatasetManifest.read(path)
        item_ids = read_arrow(path / "catalogue" / "items.arrow").get_column("item_id")
        encoder = Encoder.read(path / "train" / "encoder.json", item_ids)
        item_counts = np.zeros(encoder.num_items + 1, np.int64)
        trained_counts = read_arrow(path / "train" / "items.arrow").get_column("count").to_numpy()
        item_counts[1 : encoder.num_trained + 1] = trained_counts
        return Dataset(path, manifest, encoder, item_counts, address=address)

    @property
    def config(self) -> Config:
        """The configuration that built it."""
        return self.manifest.config

    @property
    def digest(self) -> str:
        """The fingerprint of everything that this dataset depends on."""
        return self.manifest.digest

    def train(self) -> tuple[pl.Series, JaggedParts]:
        """User ids and their training histories: int32 catalogue positions, oldest first. Nothing is copied."""
        shards = _map_shards(self.path / "train")
        user_ids = pl.concat([shard.get_column("user_id") for shard in shards])
        parts: list[Jagged | ValidatedHistories] = [Jagged.from_series(shard["positions"]) for shard in shards]
        if not self.with_validation:
            return user_ids, JaggedParts(parts)
        positions = self._positions_of_codes()
        positions = np.where(positions <= self.encoder.num_trained, positions, 0)
        queries = _map_shards(self.path / "validation")
        validated = pl.concat([shard.get_column("user_id") for shard in queries])
        order = validated.arg_sort()
        unchanged = np.flatnonzero(lookup_rows(user_ids, validated.gather(order)) < 0)
        for shard in queries:
            history, targets = (Jagged.from_series(shard[name]) for name in ("history", "targets"))
            parts.append(ValidatedHistories(history, targets, positions))
        rows = np.concatenate([unchanged, len(user_ids) + order.to_numpy().astype(np.int64)])
        return pl.concat([user_ids.gather(unchanged), validated.gather(order)]), JaggedParts(parts, rows)

    def _logged_ids(self) -> pl.Series:
        return read_arrow(self.path / "catalogue" / "logged.arrow").get_column("item_id")

    def _positions_of_codes(self) -> Int32:
        """[num codes] int32: the catalogue position of each distinct item of the log, 0 for one that is in none."""
        return self.encoder.positions(self._logged_ids())

    def trained(self) -> pl.DataFrame:
        """The users whom training has seen, and until when.

        Returns:
            user_id and, in ordered data, until: the time of the user's last training event, null for a user of
            validation only; and read: the time of the last event that training or validation read.
        """
        table = pl.concat(_map_shards(self.path / "train")).drop("positions")
        validated = pl.concat(_map_shards(self.path / "validation")).select(table.columns)
        if self.with_validation:
            table = pl.concat([validated, table.join(validated, on="user_id", how="anti")])
        if "until" not in table.columns:
            return table
        validated = validated.rename({"until": "read"})
        table = table.join(validated, on="user_id", how="full", coalesce=True, maintain_order="left_right")
        return table.with_columns(read=pl.max_horizontal("until", "read"))

    def num_queries(self, part: QueryPart) -> int:
        """How many there are."""
        statistics = self.manifest.statistics
        return statistics.validation_queries if part == "validation" else statistics.test_queries

    def queries(self, part: QueryPart, rows: Int64 | None = None) -> pl.DataFrame:
        """One row per query: user_id, history and targets (lists of raw item ids), in ordered data since and until.

        rows: which queries, in which order; None for all. No other is read.
        """
        shards, logged = _map_shards(self.path / part), self._logged_ids()
        lists = {name: JaggedParts([Jagged.from_series(shard[name]) for shard in shards]) for name in _LISTS}
        table = pl.concat([shard.drop(_LISTS) for shard in shards])
        if rows is not None:
            table, lists = table[rows], {name: codes.select(rows) for name, codes in lists.items()}
        codes = {name: parts.whole() for name, parts in lists.items()}
        columns = [as_list_column(logged.gather(some.values), some.offsets, name) for name, some in codes.items()]
        return table.select("user_id", *columns, pl.all().exclude("user_id"))

    def targets(self, part: QueryPart) -> Jagged:
        """The targets of all queries in catalogue positions (int32), 0 for an item that is in no catalogue."""
        shards = _map_shards(self.path / part)
        codes = JaggedParts([Jagged.from_series(shard["targets"]) for shard in shards]).whole()
        return Jagged(take_in_blocks(self._positions_of_codes(), codes.values), codes.offsets)

    def items(self) -> pl.DataFrame:
        """item_id and raw metadata, in catalogue order."""
        return read_arrow(self.path / "catalogue" / "items.arrow")

    def item_features(self) -> pl.DataFrame:
        """Encoded item features in catalogue order, one column per transform."""
        return read_arrow(self.path / "catalogue" / "features.arrow")

    def users(self) -> pl.DataFrame:
        """user_id and encoded user features."""
        return read_arrow(self.path / "catalogue" / "users.arrow")

    def user_texts(self) -> pl.Series | None:
        """[num_users] String: what the text features of each user say; None where there are none."""
        path = self.path / "catalogue" / "user_texts.arrow"
        return read_arrow(path).get_column("text") if path.exists() else None


def _map_shards(folder: Path) -> list[pl.DataFrame]:
    return [read_arrow(path) for path in sorted(folder.glob("shard-*.arrow"))]


def encode_lists(encoder: Encoder, lists: pl.Series) -> Jagged:
    """Encode lists of raw item ids as int32 catalogue positions, 0 if unknown, with the same rows."""
    item_ids, lengths = flatten_lists(lists)
    return Jagged.from_lengths(encoder.positions(item_ids), lengths)
