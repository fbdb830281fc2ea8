import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features import plan
from features.build import build
from features.inputs import dataset_digest, fingerprint_inputs, read_inputs
from features.partition import count_rows
from features.plan import GIB, PROCESS, Plan, plan_shards
from recsys.config import DataConfig, parse_config
from recsys.errors import InputError
from recsys.memory import machine_memory
from tests.random_logs import config_of, contents, random_log

SHORT = pl.LazyFrame({"user_id": ["u1", None], "item_id": ["i1", "i2"]})
BYTES = plan.PER_ROW


def shards_of(num_rows: int, log: pl.LazyFrame = SHORT, **data: float) -> int:
    return plan_shards(DataConfig(events="log", **data), log, num_rows).shards  # type: ignore[arg-type]


def test_a_log_that_fits_is_one_shard_and_any_other_takes_an_eighth_each() -> None:
    fitting = (6 * GIB - PROCESS) // BYTES
    assert shards_of(fitting, memory=6) == 1
    assert shards_of(fitting + 1, memory=6) == 8
    assert shards_of(1_000_000_000, memory=6) == 128
    assert 1_000_000_000 * BYTES / 128 < 6 * GIB / 8 < 1_000_000_000 * BYTES / 64
    assert shards_of(1_000_000_000, memory=6, shards=5) == 5
    assert shards_of(0) == 1


def test_wide_ids_take_more() -> None:
    wide = pl.LazyFrame({"user_id": ["u" * 400, "v" * 400], "item_id": ["i", "j"]})
    integers = pl.LazyFrame({"user_id": [1], "item_id": [2]})
    sizes = [plan_shards(DataConfig(events="log", memory=1), log, 10**8).bytes_per_row for log in (wide, integers)]
    assert sizes == [BYTES + 400, BYTES]


def test_memory_is_a_third_of_the_machine_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_shards(DataConfig(events="log"), SHORT, 1).memory == machine_memory() // 3
    monkeypatch.setattr(plan, "machine_memory", lambda: GIB)
    assert plan_shards(DataConfig(events="log"), SHORT, 1).memory == GIB
    assert plan_shards(DataConfig(events="log", memory=2.5), SHORT, 1).memory == 2.5 * GIB


def test_so_little_memory_is_refused() -> None:
    assert shards_of(10**9, memory=2) == 512
    with pytest.raises(InputError, match=r"data.memory is 1.0 GiB; expected at least 1.1 for 1,000,000,000 events"):
        shards_of(10**9, memory=1)


def test_as_many_processes_as_memory_allows() -> None:
    """Besides the first process, 1.25 GiB hold two of which each takes .5 GiB and a shard."""
    planned = Plan(shards=8, bytes_per_row=100, memory=plan.FIRST + 5 * GIB // 4, is_bound=True)
    rows = GIB // 8 // 100
    assert [planned.workers(wanted, rows) for wanted in (1, 2, 4)] == [1, 2, 2]
    assert planned.workers(4, 10) == 2
    assert Plan(8, 100, 64 * GIB, True).workers(16, rows) == 8


def test_users_of_one_shard_that_do_not_fit_are_refused_unless_only_the_shards_were_given() -> None:
    planned = plan_shards(DataConfig(events="log", memory=1), SHORT, 10**8)
    with pytest.raises(InputError, match=r"one shard has 100,000,000 events, which take about 7\.\d GiB, but data.mem"):
        planned.workers(1, 10**8)
    assert plan_shards(DataConfig(events="log", shards=2), SHORT, 10**12).workers(8, 10**12) == 1


@pytest.fixture
def large_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """400 rows seem to be 8 GiB."""
    monkeypatch.setattr(plan, "PER_ROW", GIB // 50)
    monkeypatch.setattr(plan, "MOST_PER_ROW", GIB)


@pytest.mark.usefixtures("large_rows")
def test_the_number_of_shards_is_the_datasets_and_another_machine_reuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path, random_log())
    monkeypatch.setattr(plan, "machine_memory", lambda: 3 * 5 * GIB)
    dataset = build(config, tmp_path / "out")
    assert dataset.config.data.shards == len(list((dataset.path / "train").glob("shard-*"))) == 16
    explicit = config.model_copy(update={"data": config.data.model_copy(update={"shards": 16})})
    assert contents(build(explicit, tmp_path / "explicit").path) == contents(dataset.path)
    monkeypatch.setattr(plan, "machine_memory", lambda: 64 * GIB)
    before = (dataset.path / "manifest.json").stat().st_mtime_ns
    with_memory = config.model_copy(update={"data": config.data.model_copy(update={"memory": 5.5})})
    for same in (config, explicit, with_memory):
        assert build(same, dataset.path).digest == dataset.digest
    assert (dataset.path / "manifest.json").stat().st_mtime_ns == before
    whole = build(config, tmp_path / "whole")
    assert whole.config.data.shards == 1
    assert dataset_digest(whole.config, fingerprint_inputs(config)) == whole.digest != dataset.digest


@pytest.mark.usefixtures("large_rows")
def test_the_largest_shard_decides_how_many_are_worked_on(tmp_path: Path) -> None:
    config = config_of(tmp_path, random_log(), memory=5)
    (tmp_path / "interim").mkdir()
    inputs = read_inputs(config, tmp_path / "interim")
    largest = max(map(count_rows, inputs.events)) * GIB // 50
    assert 1 < inputs.workers(99) == (5 * GIB - plan.FIRST) // (largest + PROCESS)


@pytest.mark.usefixtures("large_rows")
def test_a_number_of_shards_that_memory_does_not_suffice_for_is_refused(tmp_path: Path) -> None:
    message = r"one shard has 400 events, which take about 8.0 GiB, but data.memory is 5.0.*raise data.mem"
    with pytest.raises(InputError, match=message):
        build(config_of(tmp_path, random_log(), memory=5, shards=1), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("memory", [0, 0.5, -1, math.nan, math.inf, "much", True])
def test_what_is_no_amount_of_memory_is_refused(memory: Any) -> None:
    with pytest.raises(InputError, match=r"^test: data.memory is .*; expected [^\n]*$"):
        parse_config({"data": {"events": "log", "memory": memory}}, "test")
