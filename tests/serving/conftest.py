"""Batch scoring of the small training's users."""

import polars as pl
import pytest

from serving import partition, sources
from serving.batch_scoring import score


@pytest.fixture
def many_partitions(monkeypatch):
    """Small parts, read and written in small pieces."""
    monkeypatch.setattr(sources, "EVENTS_PER_PARTITION", 300)
    monkeypatch.setattr(sources, "USERS_PER_PARTITION", 70)
    monkeypatch.setattr(sources, "EVENTS_IN_MEMORY", 400)
    monkeypatch.setattr(partition, "ROWS_IN_MEMORY", 400)


@pytest.fixture
def run(retriever, tmp_path):
    """A function: score into tmp_path/recs; returns the recommendations."""

    def make(**settings):
        score(retriever, tmp_path / "recs", **({"k": 10} | settings))
        return pl.read_parquet(tmp_path / "recs" / "part-*.parquet")

    return make
