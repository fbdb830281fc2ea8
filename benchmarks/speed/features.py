"""Feature job: a raw log to training histories, leave-one-out targets and id maps, on disk.

Ours writes more than that: checked and quarantined rows, and the whole histories of both queries of every user.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.race import Answer, Contestant, enter

BYTES = 36  # of an event that must move at least: two ids and a time in, an item code in three lists out
CONTESTANTS = (
    Contestant("ours", "ours", peer=False),
    Contestant("DuckDB", "duckdb", settings={"tuned": False}),
    Contestant("DuckDB, tuned", "duckdb", settings={"tuned": True}),
    Contestant("pandas", "pandas", settings={"tuned": False}),
    Contestant("pandas, Arrow strings", "pandas", settings={"tuned": True}),
    Contestant("RecTools", "rectools"),
    Contestant("RePlay, Polars", "replay"),
)


def ours(log: str, out: str) -> Iterator[Answer | None]:
    from features.build import build
    from recsys.config import parse_config

    config = parse_config({"data": {"events": log, "time": "timestamp"}}, "features")
    yield None
    dataset = build(config, Path(out))
    yield None
    user_ids, parts = dataset.train()
    histories = parts.whole()
    ids = dataset.encoder.item_ids
    tests = {part: dataset.queries(part) for part in ("validation", "test")}
    yield answer(
        user_ids.gather(histories.row_of_value).to_numpy(),
        ids.gather(histories.values - 1).to_numpy(),
        np.arange(len(histories.values)) - np.repeat(histories.offsets[:-1], histories.lengths),
        *((each["user_id"].to_numpy(), each["targets"].list.first().to_numpy()) for each in tests.values()),
    )


DUCKDB = """
CREATE TABLE users AS SELECT user_id, row_number() OVER () - 1 AS u FROM (SELECT DISTINCT user_id FROM '{log}');
CREATE TABLE items AS SELECT item_id, row_number() OVER () - 1 AS i FROM (SELECT DISTINCT item_id FROM '{log}');
COPY (
    WITH histories AS (
        SELECT u, list(i::INTEGER ORDER BY timestamp) AS items
        FROM '{log}' JOIN users USING (user_id) JOIN items USING (item_id) GROUP BY u
    )
    SELECT u, items[:-3] AS train, items[-2] AS validation, items[-1] AS test FROM histories
) TO '{out}/histories.parquet';
COPY users TO '{out}/users.parquet';
COPY items TO '{out}/items.parquet';
"""


def duckdb(log: str, out: str, tuned: bool) -> Iterator[Answer | None]:
    import duckdb
    import polars as pl

    Path(out).mkdir()
    connection = duckdb.connect()
    yield None
    if tuned:  # docs: "Order Preservation" and "Threads" of the performance guide
        connection.execute("SET preserve_insertion_order = false; SET threads = 2")
    connection.execute(DUCKDB.format(log=log, out=out))
    yield None
    table = pl.read_parquet(f"{out}/histories.parquet").sort("u")
    users = pl.read_parquet(f"{out}/users.parquet").sort("u")["user_id"]
    items = pl.read_parquet(f"{out}/items.parquet").sort("i")["item_id"]
    yield of_table(table.with_columns(user_id=users.gather(table["u"])), items)


def pandas(log: str, out: str, tuned: bool) -> Iterator[Answer | None]:
    import pandas as pd
    import polars as pl

    Path(out).mkdir()
    yield None
    events = pd.read_parquet(log, **({"dtype_backend": "pyarrow"} if tuned else {}))
    events["u"], users = pd.factorize(events["user_id"])
    events["i"], items = pd.factorize(events["item_id"])
    events = events.sort_values(["u", "timestamp"])
    histories = events.groupby("u", sort=False)["i"].agg(list)
    table = pd.DataFrame({
        "u": histories.index, "train": histories.str[:-2].to_numpy(),
        "validation": histories.str[-2].to_numpy(), "test": histories.str[-1].to_numpy(),
    })  # fmt: skip
    table.to_parquet(f"{out}/histories.parquet")
    for name, ids in (("users", users), ("items", items)):
        pd.DataFrame({"id": ids}).to_parquet(f"{out}/{name}.parquet")
    yield None
    frame = pl.read_parquet(f"{out}/histories.parquet").sort("u")
    user_ids = pl.read_parquet(f"{out}/users.parquet")["id"]
    yield of_table(
        frame.with_columns(user_id=user_ids.gather(frame["u"])), pl.read_parquet(f"{out}/items.parquet")["id"]
    )


def rectools(log: str, out: str) -> Iterator[Answer | None]:
    import pandas as pd
    from rectools.dataset import Dataset
    from rectools.models.nn.transformers.data_preparator import SequenceDataset
    from rectools.models.nn.transformers.sasrec import SASRecDataPreparator

    def last(frame: pd.DataFrame) -> pd.Series:
        return frame.groupby("user_id")["datetime"].rank(method="first", ascending=False) <= 1

    Path(out).mkdir()
    yield None
    events = pd.read_parquet(log).rename(columns={"timestamp": "datetime"}).assign(weight=1.0)
    events["datetime"] = pd.to_datetime(events["datetime"], unit="s")
    test = last(events)
    dataset = Dataset.construct(events[~test])
    preparator = SASRecDataPreparator(
        session_max_len=1_000_000, batch_size=128, dataloader_num_workers=0, get_val_mask_func=last
    )
    preparator.process_dataset_train(dataset)
    train = preparator.train_dataset
    sequences = SequenceDataset.from_interactions(train.interactions.df)
    table = pd.DataFrame({"train": sequences.sessions})
    table.to_parquet(f"{out}/histories.parquet")
    preparator.val_interactions.to_parquet(f"{out}/validation.parquet")
    events[test].to_parquet(f"{out}/test.parquet")
    for name, ids in (("users", train.user_id_map), ("items", train.item_id_map)):
        pd.DataFrame({"id": ids.external_ids.astype(str)}).to_parquet(f"{out}/{name}.parquet")
    yield None
    yield {}


def replay(log: str, out: str) -> Iterator[Answer | None]:
    """Its label encoder, splitter and grouping of today; its SequenceTokenizer, deprecated, makes the same calls."""
    import polars as pl
    from replay.data.nn.utils import groupby_sequences
    from replay.preprocessing.label_encoder import LabelEncoder, LabelEncodingRule
    from replay.splitters import LastNSplitter

    Path(out).mkdir()
    last = LastNSplitter(
        N=1, divide_column="user_id", query_column="user_id", strategy="interactions", drop_cold_users=False,
        drop_cold_items=False,
    )  # fmt: skip
    yield None
    encoder = LabelEncoder([LabelEncodingRule("user_id"), LabelEncodingRule("item_id")])
    rest, test = last.split(encoder.fit_transform(pl.read_parquet(log)))
    train, validation = last.split(rest)
    groupby_sequences(train, "user_id", "timestamp").write_parquet(f"{out}/histories.parquet")
    validation.write_parquet(f"{out}/validation.parquet")
    test.write_parquet(f"{out}/test.parquet")
    for name, mapping in encoder.mapping.items():
        pl.DataFrame({"id": list(mapping)}).write_parquet(f"{out}/{name}.parquet")
    yield None
    users, items = (pl.read_parquet(f"{out}/{name}.parquet")["id"] for name in ("user_id", "item_id"))
    table = pl.read_parquet(f"{out}/histories.parquet").select("user_id", train="item_id")
    for part in ("validation", "test"):
        targets = pl.read_parquet(f"{out}/{part}.parquet").select("user_id", pl.col("item_id").alias(part))
        table = table.join(targets, on="user_id")
    yield of_table(table.with_columns(user_id=users.gather(table["user_id"])), items)


def answer(users: Any, items: Any, places: Any, *queries: tuple[Any, Any]) -> Answer:
    """A digest of histories and targets in raw ids, whatever the order of users."""
    places = np.asarray(places, np.uint64) + np.uint64(2)
    found: Answer = {"training events": len(users), "histories": _digest(users, items, places)}
    for name, (asked, targets) in zip(("validation", "test"), queries, strict=True):
        found |= {f"{name} queries": len(asked), name: _digest(asked, targets, np.zeros(len(asked), np.uint64))}
    return found


def of_table(table: Any, items: Any) -> Answer:
    """Of a Polars frame user_id, train (lists of item codes), validation, test."""
    import polars as pl

    lengths = table["train"].list.len().cast(pl.Int64).to_numpy()
    starts = np.cumsum(lengths) - lengths
    flat = table["train"].explode(empty_as_null=False)
    return answer(
        np.repeat(table["user_id"].to_numpy(), lengths),
        items.gather(flat).to_numpy(),
        np.arange(len(flat)) - np.repeat(starts, lengths),
        *((table["user_id"].to_numpy(), items.gather(table[part]).to_numpy()) for part in ("validation", "test")),
    )


def _digest(users: Any, items: Any, places: Any) -> str:
    def number(ids: Any) -> Any:
        if ids.dtype.kind in "iu":
            return ids.astype(np.uint64)
        return np.array([int(one[1:]) for one in ids], np.uint64)

    mixed = number(users) * np.uint64(0x9E3779B97F4A7C15) + places
    mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9) + number(items)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
    return f"{int(np.add.reduce(mixed ^ (mixed >> np.uint64(32)))):016x}"


if __name__ == "__main__":
    enter({"ours": ours, "duckdb": duckdb, "pandas": pandas, "rectools": rectools, "replay": replay})
