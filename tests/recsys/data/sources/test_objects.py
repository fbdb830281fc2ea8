from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import polars as pl
import pytest

from features.build import build
from features.inputs import fingerprint_inputs, require_unchanged_inputs
from recsys.buckets import BucketFolder, store
from recsys.config import Config, load_config
from recsys.data import scan_table, source_digest
from recsys.data.sources import is_read
from tests.random_logs import random_log

Put = Callable[[str, pl.DataFrame | bytes], None]
COLUMNS = ["user_id", "item_id", "timestamp"]


def config_at(tmp_path: Path, events: str) -> Config:
    (tmp_path / "config.toml").write_text(f'[data]\nevents = "{events}"\ntime = "timestamp"\n')
    return load_config(tmp_path / "config.toml")


def test_a_dataset_from_a_bucket_is_the_one_from_the_disk(s3: str, put: Put, tmp_path: Path) -> None:
    log = random_log()
    log.write_parquet(tmp_path / "events.parquet")
    put("log/events.parquet", log)
    here = build(config_at(tmp_path, "events.parquet"), tmp_path / "here")
    there = build(config_at(tmp_path, f"{s3}/log/events.parquet"), tmp_path / "there")
    names = {str(path.relative_to(tmp_path / "here")) for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert len(names) > 5
    different = {
        name for name in names if (tmp_path / "here" / name).read_bytes() != (tmp_path / "there" / name).read_bytes()
    }
    assert different == {"manifest.json"}
    assert here.digest != there.digest  # an ETag is not the digest of the bytes
    assert build(config_at(tmp_path, f"{s3}/log/events.parquet"), tmp_path / "there").digest == there.digest


def test_patterns_folders_and_hive_partitions(s3: str, put: Put) -> None:
    first, second = pl.DataFrame({"x": [1]}), pl.DataFrame({"x": [2]})
    put("log/day=1/a.parquet", first)
    put("log/day=2/a b%20.parquet", second)
    put("log/day=2/_SUCCESS", b"")
    put("log/_old/a.parquet", first)
    put("log/notes.txt", b"no table")
    for location in (f"{s3}/log", f"{s3}/log/", f"{s3}/log/day=*", f"{s3}/l*/**/*.parquet", s3):
        table = scan_table(location, "events", ["x", "day"]).frame.select("x", "day").collect()
        assert table.rows() == [(1, 1), (2, 2)], location
    assert scan_table(f"{s3}/log/day=1/a.parquet", "events", ["x"]).frame.collect().columns == ["x"]


def test_tables_in_a_folder_that_recsys_has_written(s3: str, tmp_path: Path) -> None:
    for number in range(3):
        table = pl.DataFrame({"x": [number]})
        table.write_parquet(tmp_path / f"part-{number}.parquet")
    BucketFolder(f"{s3}/recs").finish(tmp_path, [f"part-{number}.parquet" for number in range(3)])
    for location, rows in ((f"{s3}/recs/part-1.parquet", [1]), (f"{s3}/recs/part-*.parquet", [0, 1, 2])):
        assert scan_table(location, "events", ["x"]).frame.collect().get_column("x").to_list() == rows
        assert source_digest(location, "events") == source_digest(location, "events")
    with pytest.raises(ValueError, match=r"events: no table at s3://.*/recs/part-9.parquet"):
        scan_table(f"{s3}/recs/part-9.parquet", "events", ["x"])


def test_a_folder_that_is_not_finished_holds_no_table(s3: str, tmp_path: Path) -> None:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "part-0.parquet")
    (tmp_path / "state.json").write_text("{}")
    BucketFolder(f"{s3}/recs").add_step(tmp_path, ["part-0.parquet"], "state.json")
    for location in (f"{s3}/recs", f"{s3}/recs/**/*.parquet", f"{s3}/recs/parts/*.parquet"):
        with pytest.raises(ValueError, match="events: no table at s3://"):
            scan_table(location, "events", ["x"])


def test_what_would_be_read_at_a_location() -> None:
    for location in ("s3://shop", "s3://shop/a", "s3://shop/a/", "s3://shop/*/b", "s3://shop/a/**/*.parquet"):
        assert is_read(location, "s3://shop/a/b/x.parquet"), location
    for location in ("s3://shop/a/b/x", "s3://shop/b", "s3://shops", "gs://shop/a", "s3://shop/a/*.parquet"):
        assert not is_read(location, "s3://shop/a/b/x.parquet"), location


def test_text_is_copied_and_read_as_on_the_disk(s3: str, put: Put) -> None:
    put("log.csv", b"\xef\xbb\xbfx;y\n1;2\n\n3;4\n")
    assert scan_table(f"{s3}/log.csv", "events", ["x"]).frame.select("x").collect().rows() == [("1",), ("3",)]
    put("log.csv", b"x;y\n5;6\n")
    assert scan_table(f"{s3}/log.csv", "events", ["x"]).frame.select("x").collect().rows() == [("5",)]


def test_an_object_that_is_written_again_while_it_is_read_is_refused(s3: str, put: Put, tmp_path: Path) -> None:
    put("events.parquet", random_log())
    config = config_at(tmp_path, f"{s3}/events.parquet")
    before = fingerprint_inputs(config)
    require_unchanged_inputs(config, before)
    put("events.parquet", random_log().head(50))
    with pytest.raises(ValueError, match=r"events at s3://.* changed while it was read; expected files at rest"):
        require_unchanged_inputs(config, before)


def test_what_a_store_refuses_is_one_line(s3: str, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put("a.txt", b"x")
    put("b.parquet", b"no Parquet")
    for location, problem in (
        ("s3://nobody-has-this-bucket/x", "NoSuchBucket: The specified bucket does not exist; expected a bucket that"),
        (f"{s3}/nothing", "events: no table at s3://.*/nothing; expected an object, a pattern or a folder of Parquet"),
        (f"{s3}/*.csv", "events: no table at"),
        (f"{s3}/a.txt", "has an ending that says no form"),
        (f"{s3}/b.parquet", "cannot read events at s3://.*/b.parquet: "),
    ):
        with pytest.raises(ValueError, match=problem) as caught:
            scan_table(location, "events", ["x"])
        assert "\n" not in str(caught.value)
    monkeypatch.setitem(store.RETRIES, "max_retries", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"cannot read events at s3://closed/x: .*AWS_ENDPOINT_URL") as caught:
        source_digest("s3://closed/x", "events")
    assert "\n" not in str(caught.value)


def test_credentials_that_a_store_refuses_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(403)
            self.end_headers()

        def do_GET(self) -> None:
            body = b"<Error><Code>InvalidAccessKeyId</Code>\n<Message>No such key in our records</Message></Error>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "wrong", "AWS_SECRET_ACCESS_KEY": "wrong", "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "AWS_ALLOW_HTTP": "true",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        with pytest.raises(
            ValueError, match=r"InvalidAccessKeyId: No such key in our records; .*AWS_ACCESS_KEY"
        ) as caught:
            scan_table("s3://refusing/log/*.parquet", "events", ["x"])
        server.shutdown()
    assert "\n" not in str(caught.value)


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(ValueError, match=r"a bucket cannot be used without obstore .* pip install 'recsys\[cloud\]'"):
        scan_table("gs://bucket/log.parquet", "events", ["x"])
