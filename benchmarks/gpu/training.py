"""Training on a GPU: ml-1m from its events to test NDCG, and steps over a catalogue of ten million items."""

import itertools
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import torch

from benchmarks.gpu import rows
from benchmarks.gpu.rows import ROOT, Figures, Job, Row, Send, outcome, sized
from benchmarks.gpu.timing import peak_mib, profile_steps, synchronize
from benchmarks.speed.logs import make_catalogue_log
from features.build import build
from recsys import metrics
from recsys.config import Config, load_config, parse_config
from recsys.data import Dataset, encode_lists, lookup_user_rows
from recsys.model import TwoTower, encode_catalogue, encode_histories
from recsys.search import ItemIndex
from training.batches import Loader, Step, make_loader, steps_on
from training.checkpoints import checkpoint
from training.description import TrainingDescription
from training.device import choose_device, use_deterministic_algorithms
from training.learning_curve import EpochResult
from training.loop import train
from training.objective import Objective
from training.state import TrainingState

EVENTS = "events.parquet"
CPU_NDCG = 0.1965  # docs/quality.md, seed 0
WARM, PROFILED, TIMED = 10, 20, 50  # steps
ITEMS, WIDTH = 10_000_000, 128


def ml_1m(data: Path) -> Iterator[Job]:
    yield Job("ml-1m", "recsys", end_to_end, (data,))


def ten_million() -> Iterator[Job]:
    yield Job("10m", "recsys", large_catalogue)


def end_to_end(send: Send, data: Path) -> None:
    """Build, profile a few steps, train, and evaluate on the test queries through the index."""
    if not rows.SMALL and not (data / EVENTS).exists():
        why = f"no {EVENTS} in {data}; name the folder that holds those of ml-1m by --data"
        send(Row("ml-1m", "end to end", "recsys", {"not run": why}))
        return
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        config = ml_1m_config(data, Path(folder))
        dataset = build(config, Path(folder) / "dataset")
        send(Row("ml-1m", "build the dataset", "recsys", {"s": time.perf_counter() - started}))
        send(Row("ml-1m", "a step", "recsys", outcome(measure_steps, config, dataset)))
        epochs, ends = list[EpochResult](), [time.perf_counter()]

        def on_epoch(result: EpochResult) -> None:
            epochs.append(result)
            ends.append(time.perf_counter())
            send(Row("ml-1m", f"epoch {result.epoch}", "recsys", epoch_figures([result], ends[-1] - ends[-2])))

        train(config, dataset, Path(folder) / "run", on_epoch=on_epoch)
        figures = epoch_figures(epochs, time.perf_counter() - ends[0]) | {"epochs": len(epochs)}
        figures |= outcome(evaluate, Path(folder) / "run") | {"test NDCG@10 on a CPU": CPU_NDCG}
        send(Row("ml-1m", "end to end", "recsys", figures))


def epoch_figures(epochs: list[EpochResult], seconds: float) -> Figures:
    """Of epochs that took so long with their validation and checkpoints; those of a refit have no score."""
    figures: Figures = {"tokens/s": sum(epoch.tokens for epoch in epochs) / seconds, "s": seconds}
    scores = [epoch.score for epoch in epochs if epoch.score is not None]
    return figures | {"validation NDCG@10": max(scores)} if scores else figures


def ml_1m_config(data: Path, folder: Path) -> Config:
    """The configuration of examples/ml-1m.toml on this device; if small, on a made-up log in ``folder``."""
    settings = [f"training.device={rows.DEVICE}"]
    if rows.SMALL:
        make_catalogue_log(folder / EVENTS, 600)
        data = folder
        settings += ["training.epochs=2", "model.embedding_dim=8", "loss.num_negatives=16"]
    return load_config(ROOT / "examples" / "ml-1m.toml", (f"data.events={data.resolve() / EVENTS}", *settings))


def evaluate(run: Path) -> Figures:
    """Test NDCG@10, answered by an exact index on the device; publishing would need the libraries of its report."""
    training, weights = TrainingDescription.read(run), checkpoint.load(run / checkpoint.WEIGHTS).group("model")
    dataset, device, loader = training.dataset, torch.device(rows.DEVICE), make_loader(training)
    model = TwoTower(training.recipe.model).to(device)
    model.load_state_dict(weights)
    model.eval().requires_grad_(False)
    queries, user_ids = dataset.queries("test"), dataset.users().get_column("user_id")
    history, targets = (encode_lists(dataset.encoder, queries.get_column(name)) for name in ("history", "targets"))
    items = encode_catalogue(model, loader.item_features, dataset.encoder.num_items, device)
    user_rows = lookup_user_rows(queries.get_column("user_id"), user_ids)
    users = encode_histories(model, items, history, loader.user_features, user_rows)
    index = ItemIndex.build(items.cpu().numpy(), kind="exact", device=rows.DEVICE)
    positions, _ = index.search(users.cpu().numpy(), 10, excluded=history)
    ndcg = metrics.ndcg(metrics.hits(positions, targets), metrics.count_targets(targets), 10)
    return {"test NDCG@10": float(ndcg.mean())}


def large_catalogue(send: Send) -> None:
    """Steps of one member over a catalogue in which every item has an event."""
    num_items, width = sized(ITEMS, 1_000), sized(WIDTH, 16)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        events = make_catalogue_log(Path(folder) / EVENTS, num_items)
        tree = {
            "data": {"events": str(events), "time": "position", "catalogue": "events"},
            "model": {"embedding_dim": width, "num_members": 1},
            "training": {"device": rows.DEVICE},
        }
        config = parse_config(tree, "10m")
        dataset = build(config, Path(folder) / "dataset")
        send(Row("10m", "build the dataset", "recsys", {"s": time.perf_counter() - started}))
        figures = outcome(measure_steps, config, dataset)
        send(Row("10m", f"a step, {num_items:,} items x {width}", "recsys", figures))


def measure_steps(config: Config, dataset: Dataset) -> Figures:
    """Tokens a second, peak memory, and from a profile how busy the GPU is."""
    use_deterministic_algorithms()
    device = choose_device(config.training.device)
    training = TrainingDescription.of(config, dataset)
    recipe, loader = training.recipe, make_loader(training)
    torch.manual_seed(config.training.seed)
    model = TwoTower(recipe.model).to(device).train()
    state = TrainingState(model, recipe.learning_rate, recipe.weight_decay, config.training.average_decay)
    objective, tokens = Objective(training, loader, device), 0

    with closing(steps_of(loader, device)) as steps:

        def step() -> None:
            nonlocal tokens
            batch = next(steps)
            tokens += len(batch.labels)
            state.step(objective(model, batch))

        for _ in range(sized(WARM, 1)):
            step()
        synchronize()
        tokens, count, started = 0, sized(TIMED, 2), time.perf_counter()
        for _ in range(count):
            step()
        synchronize()
        seconds = time.perf_counter() - started
        figures: Figures = {"tokens/s": tokens / seconds, "ms": 1e3 * seconds / count}
        if rows.DEVICE == "cuda":
            figures |= {"peak MiB": peak_mib(step), "tables and optimizer MiB": torch.cuda.memory_allocated() / 2**20}
        return figures | profile_steps(step, sized(PROFILED, 2))


def steps_of(loader: Loader, device: torch.device) -> Generator[Step]:
    """Epoch after epoch, as the training loop gets them."""
    for epoch in itertools.count(1):
        yield from steps_on(device, loader.epoch(epoch))
