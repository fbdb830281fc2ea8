"""Whether the service and batch scoring give the same answers, to every user of a log and every history of a file.

    python -m benchmarks.online_equals_batch --bundle demo/run/bundle --events demo/events.parquet \
        --queries demo/run/queries_test.parquet
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

import polars as pl

from recsys.retriever import Query, Retriever
from serving.batch_scoring import score
from serving.service import Service, Settings

K, AT_ONCE = 20, 512


async def ask(service: Service, queries: list[Query]) -> list[tuple[list, list]]:
    answers = []
    for start in range(0, len(queries), AT_ONCE):
        answered = await service.recommend_all_async(queries[start : start + AT_ONCE])
        answers += [(list(answer.item_ids), list(answer.scores)) for answer in answered]
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--bundle", "--events", "--queries"):
        parser.add_argument(flag, required=True)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Service(
            Settings(arguments.bundle, events=arguments.events, cache=Path(folder) / "cache", seconds=60)
        ) as service,
    ):
        num_users = num_different = 0
        largest = 0.0
        for role in ("events", "queries"):
            score(Retriever.load(arguments.bundle), Path(folder) / role, k=K, **{role: getattr(arguments, role)})
            batch = pl.read_parquet(Path(folder) / role / "part-*.parquet").sort("user_id", "rank")
            lists = batch.group_by("user_id", maintain_order=True).agg("item_id", "score")
            if role == "events":
                queries = [Query(user_id=user, k=K) for user in lists["user_id"]]
            else:
                frozen = dict(pl.read_parquet(arguments.queries).select("user_id", "history").iter_rows())
                queries = [Query(history=frozen[user], k=K) for user in lists["user_id"]]
            answers = asyncio.run(ask(service, queries))
            for (items, scores), expected, expected_scores in zip(
                answers, lists["item_id"], lists["score"], strict=True
            ):
                num_users += 1
                num_different += items != expected.to_list()
                largest = max(largest, *(abs(a - b) for a, b in zip(scores, expected_scores, strict=False)))
        print(
            f"{num_users:,} users, top {K}: {num_different} lists differ, largest difference of a score {largest:.1e}"
        )


if __name__ == "__main__":
    main()
