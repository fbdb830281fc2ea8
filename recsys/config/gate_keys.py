"""The keys of the promotion gate."""

from typing import Annotated, Literal

from pydantic import Field

from .section import Section

BaselineName = Literal["popularity", "item_knn", "ease", "bm25"]


class GateConfig(Section):
    """What a version must show to be promoted. Gains, margins and shares are relative to the champion's own figures."""

    required_gain: float = Field(0.0, gt=-1)
    """The gain in NDCG@10 over the champion that the low end of the 95% interval must exceed, as a share. Below 0 it is
    a non-inferiority margin: set -0.05 if fresh data matters more than a gain.
    """
    must_beat: Annotated[tuple[BaselineName, ...], Field(strict=False)] = ("popularity", "item_knn", "bm25")
    """The baselines that a version must be ahead of. "bm25" is measured where queries are texts alone; a version must
    not be behind it. Shorten the list, or empty it, where the data are too small to show the difference.
    """
    stale_after: float = Field(7.0, ge=0)
    """The age in days from which a champion gives way to a version of newer data that is as good, within
    gate.stale_margin. 0 never lets it.
    """
    stale_margin: float = Field(0.05, gt=0, lt=1)
    """What a version that replaces a stale champion may lose in NDCG@10 at most, as a share: the low end of the 95%
    interval must be above it.
    """
    slice_margin: float = Field(0.1, ge=0)
    """The largest allowed drop in NDCG@10 on a slice, as a share, if statistically significant."""
    min_queries: int = Field(200, ge=2)
    """With fewer test queries than this, promotion is refused."""
    min_slice_queries: int = Field(30, ge=2)
    """Slices with fewer queries than this are not judged."""
    index_recall: float = Field(0.95, ge=0, le=1)
    """The smallest allowed recall@100 of the index against exact search."""
    latency_ms: float = Field(100.0, gt=0)
    """The largest allowed 95th percentile of the CPU time of one recommendation, in ms. A version that needs more
    passes if the champion needs as much.
    """
    coverage_share: float = Field(0.8, ge=0)
    """The smallest allowed coverage@10 of the catalogue, as a share of the champion's."""
    gini_rise: float = Field(0.05, ge=0)
    """The largest allowed rise of the Gini index of exposure over the champion's: 0 shows all items equally often, 1
    shows everybody the same item.
    """
