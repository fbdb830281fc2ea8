"""A catalogue with users, and an index of each kind over it."""

import pytest

from recsys.search.index import ItemIndex
from recsys.search.index_kinds import KINDS
from tests.search_worlds import catalogue


@pytest.fixture(scope="session")
def world():
    return catalogue(6_000)


@pytest.fixture(scope="session")
def indexes(world):
    vectors_ND, users_BD = world
    return {k: ItemIndex.build(vectors_ND, kind=k, query_vectors_BD=users_BD[:100]) for k in KINDS}
