from pathlib import Path

import duckdb
import polars as pl
import pytest

from features.build import build
from features.inputs import fingerprint_inputs, require_unchanged_inputs
from recsys.config import load_config
from recsys.data import scan_table, source_digest, source_identities
from recsys.data.sources.query import ROWS
from tests.random_logs import random_log

SQL = "SELECT user_id, item_id, timestamp FROM log WHERE user_id % 2 = 0 -- a comment;"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    log = random_log()
    with duckdb.connect(str(tmp_path / "shop.db")) as connection:
        connection.register("frame", log.to_arrow())
        connection.execute("CREATE TABLE log AS SELECT * FROM frame")
    return tmp_path / "shop.db"


def test_a_log_is_the_answer_of_a_query(database: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f"""[data]
events = '''duckdb:///shop.db?query={SQL}
'''
time = "timestamp"
""")
    config = load_config(tmp_path / "config.toml")
    assert config.data.events.startswith(f"duckdb:///{tmp_path}/shop.db?query=SELECT")
    before = fingerprint_inputs(config)
    dataset = build(config, tmp_path / "dataset")
    require_unchanged_inputs(config, before)
    assert fingerprint_inputs(config) == before
    wanted = random_log().filter(pl.col("user_id") % 2 == 0)
    wanted.write_parquet(tmp_path / "wanted.parquet")
    data = config.data.model_copy(update={"events": str(tmp_path / "wanted.parquet")})
    here = build(config.model_copy(update={"data": data}), tmp_path / "here")
    assert dataset.manifest.statistics == here.manifest.statistics
    assert dataset.manifest.statistics.log.rows == wanted.height > 0
    with duckdb.connect(str(database)) as connection:
        connection.execute("DELETE FROM log WHERE user_id = 2")
    with pytest.raises(
        ValueError, match=r"events at duckdb:.* changed while it was read; expected the same rows in the"
    ):
        require_unchanged_inputs(config, before)


def test_all_rows_come_in_order_and_count_in_the_digest(database: Path) -> None:
    def query(sql: str) -> str:
        return f"duckdb:///{database}?query={sql}"

    count = 2 * ROWS + 5
    rows = scan_table(query(f"SELECT i AS x, i % 7 AS y FROM range({count}) t(i);"), "events", ["x"]).frame
    assert rows.select("x").collect().to_series().to_list() == list(range(count))
    assert rows.filter(pl.col("x") > ROWS).select("y").head(2).collect().rows() == [
        ((ROWS + 1) % 7,),
        ((ROWS + 2) % 7,),
    ]
    digests = {
        source_digest(query(f"SELECT i AS x FROM range({count}) t(i) {rest}"))
        for rest in ("", "WHERE i < 131076", "ORDER BY i DESC", "WHERE i < 0")
    }
    assert len(digests) == 4
    assert source_digest(query(f"SELECT * FROM range({count}) t(x)")) in digests
    assert len(source_identities(query("SELECT 1"))) == 1


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("duckdb:///{db}?query=SELECT nothing FROM log", 'Binder Error: Referenced column "nothing" not found'),
        ("duckdb:///{db}?query=DELETE FROM log", "Parser Error"),
        (
            "duckdb:///{db}?query=SELECT 1) ; DROP TABLE log; SELECT (1",
            "Error: .*; expected a database that nobody else",
        ),
        ("duckdb:///{db}x?query=SELECT 1", "IO Error: Cannot open database .*; expected a database that nobody else"),
        ("duckdb:///{db}?query=", "is no query; expected duckdb:///PATH.db.query=SELECT"),
        ("duckdb:///{db}", "is no query"),
        ("duckdb:///{db}?query=SELECT 1 AS x", "has no column 'user_id'; found x: name the right column"),
        ("duckdb:///{db}?query=SELECT error('broken') AS user_id", "broken"),
    ],
)
def test_what_duckdb_refuses_is_one_line(database: Path, location: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        scan_table(location.format(db=database), "events", ["user_id"]).frame.collect()
    assert "\n" not in str(caught.value)
    assert duckdb.connect(str(database), read_only=True).sql("SELECT count(*) FROM log").fetchall()[0][0] > 0
