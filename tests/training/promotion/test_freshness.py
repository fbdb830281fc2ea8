"""A champion is stale when it is old and a version of newer data is there."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import polars as pl
import pytest

from recsys.config import GateConfig
from recsys.registry import VersionChange
from training.promotion.freshness import stale_days

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def version(number, days_ago, *, log=None, until=None):
    trained = pl.DataFrame({"user_id": ["a"]} | ({} if until is None else {"until": [until]}))
    return SimpleNamespace(
        version=SimpleNamespace(number=number, created=(NOW - timedelta(days=days_ago)).timestamp(), tags={}),
        evaluation=SimpleNamespace(log=log or f"log {number}"),
        trained=trained,
    )


def change(number, days_ago, action):
    at = (NOW - timedelta(days=days_ago)).isoformat(timespec="seconds")
    return VersionChange(at=at, action=action, version=number, instead_of=None, why="", bundle_id="", dataset="")


def age(challenger, champion, *changes, **settings):
    return stale_days(challenger, champion, list(changes), GateConfig(**settings), NOW)


def test_the_age_counts_from_the_registration():
    assert age(version(2, 0), version(1, 8)) == pytest.approx(8)
    assert age(version(2, 0), version(1, 6)) is None
    assert age(version(2, 0), version(1, 6), stale_after=5) == pytest.approx(6)
    assert age(version(2, 0), version(1, 800), stale_after=0) is None
    assert age(version(1, 0), None) is None


def test_after_a_rollback_the_age_counts_from_it():
    promoted, back = change(1, 20, "promoted"), change(1, 3, "rolled back to")
    assert age(version(3, 0), version(1, 20), promoted) == pytest.approx(20)
    assert age(version(3, 0), version(1, 20), promoted, back) is None
    assert age(version(3, 0), version(1, 20), promoted, back, stale_after=2) == pytest.approx(3)
    assert age(version(3, 0), version(1, 20), change(2, 3, "rolled back to")) == pytest.approx(20)


@pytest.mark.parametrize(
    ("challenger", "champion"),
    [
        (version(2, 0, log="same"), version(1, 9, log="same")),  # trained again on the same log
        (version(1, 12), version(2, 9)),  # registered before the champion
        (version(2, 0, until=5), version(1, 9, until=6)),  # of a log that ends earlier
    ],
)
def test_only_a_version_of_newer_data_makes_a_champion_stale(challenger, champion):
    assert age(challenger, champion) is None


def test_logs_without_a_common_clock_are_compared_by_their_registration():
    assert age(version(2, 0, until=6), version(1, 9, until=6)) == pytest.approx(9)
    assert age(version(2, 0, until="x"), version(1, 9, until=6)) == pytest.approx(9)
    assert age(version(2, 0), version(1, 9, until=6)) == pytest.approx(9)
