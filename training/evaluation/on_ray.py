"""Queries of an evaluation answered on a Ray cluster, block by block. Only ``--engine ray`` imports this module."""

from collections.abc import Iterator, Sequence
from functools import partial

from recsys.data import Int32
from recsys.ray_cluster import connected, task_map
from recsys.retriever import Retriever, RetrieverSource, same_retriever

from .evaluate import QueryBlock, RankBlocks, rank_block


def rank_on_ray(source: RetrieverSource, address: str | None) -> RankBlocks:
    """What ranks blocks of queries on a cluster. source: of the retriever; fixed. address: see ``connected``."""

    def rank(retriever: Retriever, blocks: Sequence[QueryBlock]) -> Iterator[Int32]:
        with connected(address), task_map(None) as on_cluster:
            rank_one = partial(_rank_block, source, retriever.bundle_id, retriever.metadata_digest)
            yield from on_cluster(rank_one, blocks)

    return rank


def _rank_block(source: RetrieverSource, bundle_id: str, metadata_digest: str | None, block: QueryBlock) -> Int32:
    """Rank a block in a worker, which loads the bundle for the first one."""
    return rank_block(same_retriever(source, bundle_id, metadata_digest).limited(clock=None), block)
