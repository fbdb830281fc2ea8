"""What the retriever of the small training is asked about."""

import pytest


@pytest.fixture(scope="module")
def histories(small_run):
    """Whole histories by user id, in order."""
    return small_run.events.sort("timestamp", maintain_order=True).group_by("user_id").agg("item_id").sort("user_id")


@pytest.fixture(scope="module")
def items(retriever):
    return retriever.bundle.items
