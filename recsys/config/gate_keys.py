"""The keys of the promotion gate."""

from pydantic import Field

from .section import Section


class GateConfig(Section):
    """What a version must show to be promoted. Gains, margins and shares are relative to the champion's own figures."""

    required_gain: float = Field(0.0, gt=-1)
    """The gain in NDCG@10 over the champion that the low end of the 95% interval must exceed, as a share. Below 0 it is
    a non-inferiority margin: set -0.05 if fresh data matters more than a gain.
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
    """The largest allowed 95th percentile of the time of one recommendation, in ms."""
    coverage_share: float = Field(0.8, ge=0)
    """The smallest allowed coverage@10 of the catalogue, as a share of the champion's."""
    gini_rise: float = Field(0.05, ge=0)
    """The largest allowed rise of the Gini index of exposure over the champion's: 0 shows all items equally often, 1
    shows everybody the same item.
    """
