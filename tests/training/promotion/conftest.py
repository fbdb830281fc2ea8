"""Versions to judge, and how they are judged."""

import numpy as np
import pytest

from recsys.registry.store import CHALLENGER, CHAMPION, PREVIOUS, Registry
from training.promotion.gate import promote


@pytest.fixture
def register(registrar, registry_uri):
    """A function: publish a challenger, as ``registrar`` says."""
    return registrar(registry_uri)


@pytest.fixture
def shuffled():
    """A function: item vectors of which a share stands in the wrong place, for ``register``."""
    return _shuffled


def _shuffled(share, among=None):
    """Item vectors of which a share stands in the wrong place."""

    def spoil(vectors):
        rows = np.random.default_rng(0).permutation(np.arange(1, len(vectors)) if among is None else among)
        rows = rows[: int(share * len(rows))]
        vectors[rows] = vectors[np.roll(rows, 1)]
        return vectors

    return spoil


@pytest.fixture
def aliases(registry_uri):
    def look():
        found = {name: Registry(registry_uri).version("small", name) for name in (CHAMPION, CHALLENGER, PREVIOUS)}
        return {name: version.number for name, version in found.items() if version}

    return look


@pytest.fixture
def judge(registry_uri):
    """A function: promote; returns the decision and its lines."""

    def run(*overrides, **settings):
        overrides = ("gate.latency_ms=10000", *overrides)
        decision = promote("small", registry_uri=registry_uri, overrides=overrides, **settings)
        return decision, decision.lines(dry_run=settings.get("dry_run", False))

    return run
