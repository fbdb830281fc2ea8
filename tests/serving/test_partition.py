from dataclasses import replace

import polars as pl

from recsys.answers import Mask
from recsys.data.dataset import write_arrow
from serving.partition import ScoreJob, limited_to, score_partition
from serving.records import ScoreState


def test_a_partition_that_is_scored_again_is_the_same_files(retriever, small_run, tmp_path):
    queries = small_run.dataset.queries("test").select("user_id", "history").head(20)
    (tmp_path / "interim").mkdir()
    write_arrow(queries, tmp_path / "interim" / "00003.arrow")
    state = ScoreState(
        bundle_id=retriever.bundle_id, metadata=None, k=4, exclude_seen=True, input="queries", digest="0"
    )  # fmt: skip
    job, written = ScoreJob(tmp_path, state, pl.String(), pl.String(), 4), []
    for _ in range(2):
        record = score_partition(retriever, job, 3)
        written.append({path.name: path.read_bytes() for path in tmp_path.glob("part-*")})
    assert written[0] == written[1]
    assert (record.counts.users, record.counts.recommendations) == (20, 80)
    recommended = pl.read_parquet(tmp_path / "part-00003.parquet")
    assert recommended["user_id"].unique(maintain_order=True).equals(queries["user_id"])
    mask = Mask(item_ids=tuple(recommended["item_id"].unique()))
    score_partition(limited_to(retriever, None, mask), replace(job, num_partitions=1), 3)
    assert not set(pl.read_parquet(tmp_path / "part-00003.parquet")["item_id"]) & set(mask.item_ids)
