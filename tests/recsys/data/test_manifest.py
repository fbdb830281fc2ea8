from pathlib import Path
from typing import Any

import pytest

from recsys import files
from recsys.config import parse_config
from recsys.data.events import LogCounts
from recsys.data.manifest import BuildStatistics, DatasetManifest, SplitCounts
from recsys.data.metadata import MetadataCounts

SPLIT = SplitCounts(
    users=3, users_with_few_events=2, training_events=4, validation_queries=1, test_queries=1, equal_times=1
)
STATISTICS = BuildStatistics(
    **SPLIT.model_dump(),
    log=LogCounts(rows=10, events=6, quarantined={"no time": 3, "duplicate": 1}),
    test=LogCounts(rows=2, events=1, quarantined={"no item_id": 1}),
    items=5,
    trained_items=4,
    item_metadata=MetadataCounts(rows_without_id=1, rows_repeated=2, without_metadata=3, missing={"price": 4}),
    user_metadata=MetadataCounts(without_metadata=5),
)
ON_DISK = {
    "rows": 10, "events": 6, "quarantined: no time": 3, "quarantined: duplicate": 1, "test rows": 2, "test events": 1,
    "test quarantined: no item_id": 1, "users": 3, "users_with_few_events": 2, "training_events": 4,
    "validation_queries": 1, "test_queries": 1, "equal_times": 1, "items": 5, "trained_items": 4,
    "items_rows_without_id": 1, "items_rows_repeated": 2, "items_without_metadata": 3, "missing: items price": 4,
    "users_without_metadata": 5,
}  # fmt: skip
MANIFEST = DatasetManifest(
    log="a", digest="b", config=parse_config({"data": {"events": "x"}}, "test"), statistics=STATISTICS, encoder="c"
)


def test_statistics_are_one_flat_object_on_disk_and_come_back_whole() -> None:
    assert STATISTICS.to_json() == ON_DISK
    assert BuildStatistics.from_json(ON_DISK) == STATISTICS


def test_counts_of_shards_add_up() -> None:
    assert (SPLIT + SPLIT).model_dump() == {name: 2 * count for name, count in SPLIT}


def test_a_manifest_comes_back_whole(tmp_path: Path) -> None:
    MANIFEST.write(tmp_path)
    assert DatasetManifest.read(tmp_path) == MANIFEST
    written = files.read_json(tmp_path / "manifest.json")
    assert written["statistics"] == ON_DISK
    assert set(written) == {"artifact", "format", "log", "digest", "config", "statistics", "encoder"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"artifact": "bundle"}, "no dataset at"),
        ({"format": 4}, "has format 4, expected 5: build it again"),
        ({"digest": None}, "has a manifest of another release .*: build it again"),
        ({"statistics": {"rows": 1}}, "has a manifest of another release .*: build it again"),
        ({"config": {"data": {}}}, "has a manifest of another release .*: build it again"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    MANIFEST.write(tmp_path)
    files.write_json(tmp_path / "manifest.json", files.read_json(tmp_path / "manifest.json") | change)
    with pytest.raises(ValueError, match=message) as caught:
        DatasetManifest.read(tmp_path)
    assert "\n" not in str(caught.value)
