"""The records of a folder of scores keep their names on disk, and a folder takes the scores of one state only."""

import pytest

from recsys import files
from recsys.data import LogCounts
from recsys.errors import InputError
from recsys.file_seal import FileSeal
from serving.records import PartRecord, ScoreCounts, ScoreState, manifest

STATE = ScoreState(bundle_id="b", metadata=None, k=10, exclude_seen=True, input="events", digest="d")
COUNTS = ScoreCounts(users=2, recommendations=9, short=1, log=LogCounts(rows=5, events=4, quarantined={"no id": 1}))


@pytest.fixture
def part(tmp_path):
    """A finished partition."""
    path = tmp_path / "part-00000"
    for ending in (".parquet", ".reasons.ndjson"):
        path.with_suffix(ending).write_text(ending)
    PartRecord.of(path, COUNTS, STATE).write(path)
    return path


def test_counts_add_up_and_keep_their_names_on_disk():
    total = (
        ScoreCounts() + COUNTS + ScoreCounts(users=1, recommendations=10, fallback=1, log=LogCounts(rows=3, events=3))
    )
    assert total.to_json() == {
        "users": 3, "recommendations": 19, "fallback": 1, "short": 1, "rows": 8, "events": 7, "quarantined: no id": 1,
    }  # fmt: skip
    assert ScoreCounts.from_json(total.to_json()) == total
    assert total.rows == 8


def test_the_counts_of_queries_have_no_log():
    counts = ScoreCounts(users=1, recommendations=10)
    assert set(counts.to_json()) == {"users", "recommendations", "fallback", "short"}
    assert ScoreCounts.from_json(counts.to_json()).log is None
    assert counts.rows == 1


def test_a_part_goes_in_and_out(part):
    record = PartRecord.read(part, STATE)
    assert record.counts == COUNTS
    sealed = [part.with_suffix(ending) for ending in (".parquet", ".reasons.ndjson")]
    assert record.files == {path.name: FileSeal.of(path) for path in sealed}
    with pytest.raises(InputError, match="belongs to other scores"):
        PartRecord.read(part, STATE.model_copy(update={"k": 11}))


def test_a_manifest_holds_the_state_the_totals_and_every_file(part):
    record = PartRecord.read(part, STATE)
    content = files.read_json(written(part.with_name("manifest.json"), manifest(part.parent, STATE, [record])))
    assert content.items() > {"bundle_id": "b", "k": 10, "format": 2, "totals": COUNTS.to_json()}.items()
    assert content["files"] == {
        path.name: {"bytes": path.stat().st_size, "sha256": files.sha256(path)} for path in part.parent.glob("part-*")
    }


def written(path, content):
    path.write_bytes(content)
    return path


def test_a_folder_is_claimed_once(tmp_path):
    STATE.claim(tmp_path)
    STATE.claim(tmp_path)
    other = STATE.model_copy(update={"k": 11})
    other.claim(tmp_path)  # nothing has been scored
    STATE.claim(tmp_path)
    (tmp_path / "part-00000.json").touch()
    before = (tmp_path / "state.json").read_bytes()
    with pytest.raises(InputError, match=r"holds scores of another k \(10, now 11\); give a new --out"):
        other.claim(tmp_path)
    (tmp_path / "state.json").write_bytes(before.strip())
    STATE.claim(tmp_path)
    assert (tmp_path / "state.json").read_bytes() == before
