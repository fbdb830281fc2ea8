"""How the temperature of the loss trades quality against uniformity.

    python -m benchmarks.temperature_sweep --out DIR [--example claims] [--temperatures 0.02 0.08 ...] [--seeds 0]

Trains the pairs of an example (examples/claims.py or languages.py, words alone, all of the recipe but the temperature)
and prints, for each temperature, what the towers alone find of the held-out queries and the geometry of their space,
and what has collapsed, if anything has. DIR keeps the trainings, and temperature.svg, which draws quality against
uniformity. Nothing is chosen by these figures: they are of the test queries.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import altair as alt
import polars as pl

from examples import claims, languages
from features.build import build
from recsys.bundle import Bundle, TextWeights, load_bundle
from recsys.config import Config, load_config
from recsys.data import Dataset, encode_lists
from recsys.retriever import Retriever
from recsys.text_evaluation import evaluate_retrieval
from training import publish
from training.checkpoints import checkpoint
from training.description import TrainingDescription
from training.evaluation import EvaluationSet, Geometry, collapsed, measure, user_vectors
from training.loop import train

EXAMPLES = {"claims": claims, "languages": languages}
TEMPERATURES = (0.01, 0.02, 0.05, 0.08, 0.2, 0.5, 1.0, 10.0)


@dataclass(frozen=True)
class Result:
    temperature: float
    seed: int
    ndcg: float
    first: float
    space: Geometry
    collapse: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--example", choices=EXAMPLES, default="claims")
    parser.add_argument("--temperatures", type=float, nargs="+", default=TEMPERATURES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    results = []
    pairs = EXAMPLES[arguments.example].make_pairs()
    pairs.write(arguments.out)
    template = import_module("comparison").CONFIG  # the examples import it by this name
    (arguments.out / "config.toml").write_text(template.format(name=arguments.example))
    print(
        "temperature  seed  NDCG@10  first  alignment  uniformity: queries  documents   gap  hubness  rank  collapsed"
    )
    for seed in arguments.seeds:
        for temperature in arguments.temperatures:
            started = time.process_time()
            results.append(measured(arguments.out, pairs, temperature, seed))
            print(f"{line(results[-1])}  ({time.process_time() - started:.0f} s)", flush=True)
    chart(results).save(arguments.out / "temperature.svg")


def measured(out: Path, pairs: "claims.Pairs", temperature: float, seed: int) -> Result:
    """Train with a temperature, unless it was, and measure."""
    settings = (f"loss.temperature={temperature}", f"training.seed={seed}")
    config, run = load_config(out / "config.toml", settings), out / f"temperature-{temperature:g}-seed-{seed}"
    dataset = build(config, run / "dataset")
    retriever = trained(config, dataset, run)
    queries = dataset.queries("test")
    held_out = queries["user_id"].to_list()
    found = evaluate_retrieval(
        retriever, pairs.queries, {query: pairs.answers[query] for query in held_out}, user_column="text"
    )
    space = geometry(retriever, queries)
    clause = collapsed(space, min(retriever.bundle.model.spec.width, dataset.encoder.num_items))
    return Result(temperature, seed, found.ndcg, found.accuracy_at_1, space, clause or "no")


def trained(config: Config, dataset: Dataset, run: Path) -> Retriever:
    """The trained towers, without the words that a hybrid search counts."""
    if not (run / "model.safetensors").exists():
        train(config, dataset, run, resume=True)
    publish.seal(TrainingDescription.read(run), checkpoint.load(run / "model.safetensors"), run / "bundle")
    bundle, bundle_id = load_bundle(run / "bundle")
    assert isinstance(bundle, Bundle)
    return Retriever(replace(bundle, text_weights=TextWeights(clicks=0.0)), bundle_id)


def geometry(retriever: Retriever, queries: pl.DataFrame) -> Geometry:
    encoder = retriever.bundle.encoder
    history, targets = (encode_lists(encoder, queries[name]) for name in ("history", "targets"))
    asked = EvaluationSet(queries["user_id"], history, targets, {})
    vectors, first = user_vectors(retriever, asked, queries.height)
    return measure(retriever.bundle.item_vectors, vectors, first, retriever.bundle.item_counts, seed=0)[0]


def line(result: Result) -> str:
    space = result.space
    return (
        f"{result.temperature:11g}  {result.seed:4}  {result.ndcg:7.3f}  {result.first:5.3f}  {space.alignment:9.2f}  "
        f"{space.user_uniformity:19.2f}  {space.item_uniformity:9.2f}  {space.gap:4.2f}  {space.hubness:7.2f}  "
        f"{space.effective_rank:4.0f}  {result.collapse}"
    )


def chart(results: Sequence[Result]) -> alt.LayerChart:
    """Quality against the uniformity of the documents: a dot a training, a line through the means by temperature."""
    seeds = pl.DataFrame({
        "temperature": [result.temperature for result in results],
        "uniformity": [result.space.item_uniformity for result in results],
        "ndcg": [result.ndcg for result in results],
    })  # fmt: skip
    means = seeds.group_by("temperature").mean().sort("temperature").with_columns(name=pl.col("temperature").cast(str))
    layers = [
        alt.Chart(alt.InlineData(values=rows.to_dicts())).encode(
            x=alt.X("uniformity:Q", title="uniformity of the documents (left: more even)", scale=alt.Scale(zero=False)),
            y=alt.Y("ndcg:Q", title="NDCG@10", scale=alt.Scale(zero=False)),
        )
        for rows in (seeds, means)
    ]
    dots = layers[0].mark_circle(size=25, opacity=0.45)
    line = layers[1].mark_line(point=True).encode(order="temperature:Q")
    names = layers[1].mark_text(dy=-13, fontSize=12).encode(text="name:N")
    return (dots + line + names).properties(width=560, height=300, background="white")


if __name__ == "__main__":
    main()
