"""The records of a folder of scores keep their names on disk, and a folder takes the scores of one state only."""

import pytest

from recsys import files
from recsys.data import LogCounts
from recsys.errors import InputError
from serving.records import ScoreCounts, ScoreState, read_totals, write_manifest

STATE = ScoreState(bundle_id="b", metadata=None, k=10, exclude_seen=True, input="events", digest="d")


def test_counts_add_up_and_keep_their_names_on_disk(tmp_path):
    first = ScoreCounts(users=2, recommendations=9, short=1, log=LogCounts(rows=5, events=4, quarantined={"no id": 1}))
    second = ScoreCounts(users=1, recommendations=10, fallback=1, log=LogCounts(rows=3, events=3))
    total = ScoreCounts() + first + second
    total.write(tmp_path / "part-00000.json")
    assert files.read_json(tmp_path / "part-00000.json") == {
        "users": 3, "recommendations": 19, "fallback": 1, "short": 1, "rows": 8, "events": 7, "quarantined: no id": 1,
    }  # fmt: skip
    assert ScoreCounts.read(tmp_path / "part-00000.json") == total


def test_the_counts_of_queries_have_no_log(tmp_path):
    ScoreCounts(users=1, recommendations=10).write(tmp_path / "part-00000.json")
    assert set(files.read_json(tmp_path / "part-00000.json")) == {"users", "recommendations", "fallback", "short"}
    assert ScoreCounts.read(tmp_path / "part-00000.json").log is None


def test_a_manifest_holds_the_state_and_the_totals(tmp_path):
    assert read_totals(tmp_path) is None
    write_manifest(tmp_path, STATE, ScoreCounts(users=3))
    assert read_totals(tmp_path) == ScoreCounts(users=3)
    assert files.read_json(tmp_path / "manifest.json").items() > {"bundle_id": "b", "k": 10, "format": 1}.items()


def test_a_folder_is_claimed_once(tmp_path):
    STATE.claim(tmp_path / "recs")
    STATE.claim(tmp_path / "recs")
    with pytest.raises(InputError, match=r"holds scores of another k \(10, now 11\); give a new --out"):
        STATE.model_copy(update={"k": 11}).claim(tmp_path / "recs")
