"""HR, recall and NDCG from the Parquet that `recsys score --queries` writes, by a few lines of Polars of their own.

    recsys score --bundle run/bundle --queries run/queries_test.parquet --out recs
    python benchmarks/recompute.py --recommendations recs --queries run/queries_test.parquet

Independent of recsys/metrics.py on purpose: two roads to the same figure.
"""

import argparse
import math

import polars as pl


def figures(recommendations: pl.DataFrame, queries: pl.DataFrame, k: int) -> dict[str, float]:
    """Means over all users of ``queries``; a user without a row in ``recommendations`` counts as 0."""
    targets = queries.select("user_id", pl.col("targets").alias("item_id")).explode("item_id")
    wanted = queries.select("user_id", num=pl.col("targets").list.len())
    found = recommendations.filter(pl.col("rank") <= k).join(targets, on=["user_id", "item_id"])
    gains = found.group_by("user_id").agg(hits=pl.len(), dcg=(1 / (pl.col("rank") + 1).log(2)).sum())
    ideal = [sum(1 / math.log2(place + 2) for place in range(min(count, k))) for count in wanted["num"]]
    per_user = wanted.with_columns(ideal=pl.Series(ideal)).join(gains, on="user_id", how="left").fill_null(0)
    means = per_user.select(
        (pl.col("hits") > 0).mean().alias(f"HR@{k}"),
        (pl.col("hits") / pl.col("num")).mean().alias(f"Recall@{k}"),
        (pl.col("dcg") / pl.col("ideal")).mean().alias(f"NDCG@{k}"),
    )
    return means.row(0, named=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recommendations", required=True)
    parser.add_argument("--queries", required=True)
    arguments = parser.parse_args()
    recommendations = pl.read_parquet(f"{arguments.recommendations}/part-*.parquet")
    queries = pl.read_parquet(arguments.queries)
    print(f"{queries.height:,} queries, {recommendations['user_id'].n_unique():,} users with recommendations")
    histories = queries.select("user_id", pl.col("history").alias("item_id")).explode("item_id")
    print(f"{recommendations.join(histories, on=['user_id', 'item_id']).height} recommended items were in the history")
    for k in (10, 20):
        print("  ".join(f"{name} {value:.4f}" for name, value in figures(recommendations, queries, k).items()))


if __name__ == "__main__":
    main()
