"""Bundles that differ from a trained one in what was planted."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from recsys.bundle import load_bundle
from recsys.data import encode_lists
from recsys.retriever import Retriever
from recsys.search.index import ItemIndex
from training.drift.compare import compare_bundles

TITLE = '<script>alert("1")</script> & Sons'


def with_vectors(bundle, vectors):
    return replace(bundle, item_vectors=vectors, index=ItemIndex.build(vectors, kind="exact"))


@pytest.fixture(scope="session")
def bundle(small_run):
    return load_bundle(small_run.run / "bundle")[0]


@pytest.fixture(scope="session")
def model(bundle):
    return Retriever(bundle, "model")


@pytest.fixture(scope="session")
def histories(small_run):
    return small_run.dataset.queries("test").select("user_id", "history")


@pytest.fixture(scope="session")
def shuffled(bundle):
    """Every item has the vector of another."""
    vectors = bundle.item_vectors.copy()
    vectors[1:] = vectors[1:][np.random.default_rng(0).permutation(len(vectors) - 1)]
    return Retriever(with_vectors(bundle, vectors), "shuffled")


@pytest.fixture(scope="session")
def crowded(bundle, model, histories):
    """An item that was in few lists now points at the mean user, and is longer than all others; its title is odd."""
    figures = compare_bundles(model, model, histories)
    position = int(bundle.encoder.positions(pl.Series([figures.items[-1].item_id]))[0])
    users, user_rows = encode_lists(bundle.encoder, histories["history"]), np.zeros(histories.height, np.int64)
    vectors = bundle.item_vectors.copy()
    vectors[position] = 100 * model.encode(users, user_rows).mean(axis=0)
    items = bundle.items.with_columns(
        title=pl.when(pl.int_range(pl.len()) == position - 1).then(pl.lit(TITLE)).otherwise("title")
    )
    hub = Retriever(with_vectors(replace(bundle, items=items), vectors), "crowded")
    return hub, bundle.encoder.item_ids[position - 1]


@pytest.fixture(scope="session")
def twin(bundle):
    """Another bundle with the same answers."""
    return Retriever(bundle, "twin")


@pytest.fixture(scope="session")
def smaller(bundle):
    """A bundle whose catalogue lacks the last 60 items."""
    kept = replace(
        bundle,
        encoder=replace(bundle.encoder, item_ids=bundle.encoder.item_ids[:-60]),
        items=bundle.items[:-60],
        item_features=bundle.item_features[:-60],
        item_counts=bundle.item_counts[:-60],
    )
    return Retriever(with_vectors(kept, bundle.item_vectors[:-60].copy()), "smaller")
