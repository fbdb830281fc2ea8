"""Bundles that somebody changed and sealed again: each is refused in one line, or is a sound bundle with other content.

    python benchmarks/resealed_bundles.py --mutations 1000 --out DIR

A small model is trained, and sealed with an exact, an IVF and an HNSW index, and EASE
beside it. Every mutation changes a copy of one of
them as a bug or an attacker could (``MUTATIONS`` below), and gives it a new seal. Then a process of its own loads it
and asks for every kind of answer. It is forked from one that has only imported the library, so that the CPU time and
memory of a child are those of loading and answering. Reported are signals, time-outs, exceptions that are no refusal,
the most CPU time and memory, and what kinds of mutation left a sound bundle.
"""

import argparse
import collections
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.bundle import Bundle, load_bundle, save_bundle
from recsys.bundle.seal import seal, sealed
from recsys.errors import BundleError, InputError
from recsys.retriever import Retriever
from recsys.search import ItemIndex

KINDS = ("exact", "ivf", "hnsw", "ease")
MAX_CPU, MAX_MEMORY, MAX_WALL = 5.0, 1 << 30, 120.0  # seconds, bytes, seconds
HUGE = (2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1, 0, 1, 2**20)
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 7, 2**20, 2**31, 2**70, 0.5, -1e308, 1e308, float("nan"), float("inf"), "", "x", "dot",
    "text", "x" * 5000, [], {}, [1], ["a", "a"], {"a": {}},
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a mutated bundle. verdict: refused, refused when asked, sound, or what should not be."""

    mutation: str
    verdict: str
    detail: str
    cpu: float
    memory: int


def bundles(source: Path, out: Path) -> dict[str, Path]:
    """The bundle at ``source`` with an index of each kind."""
    bundle, _ = load_bundle(source)
    for kind in KINDS[:3]:
        index = ItemIndex.build(np.asarray(bundle.item_vectors), kind=kind)
        save_bundle(replace(bundle, index=index), out / kind)
    return {kind: out / kind for kind in KINDS if (out / kind).exists()}


# Mutations: each changes a folder, and returns what it did


def flip_a_bit(folder: Path, rng: random.Random) -> str:
    path, content = _member(folder, rng)
    place = rng.randrange(len(content))
    content[place] ^= 1 << rng.randrange(8)
    return _write(path, content, f"bit of byte {place}")


def overwrite_a_number(folder: Path, rng: random.Random) -> str:
    """In what describes the content: the start of a file, or its end, where Arrow has its footer."""
    path, content = _member(folder, rng)
    size = rng.choice((4, 8))
    near = rng.randrange(min(len(content), 4000))
    place = max(0, len(content) - near - size) if path.suffix == ".arrow" and rng.random() < 0.5 else near
    value = rng.choice([*HUGE, *(abs(number - 1) for number in HUGE), rng.getrandbits(64)])
    content[place : place + size] = (value % 2 ** (8 * size)).to_bytes(size, "little")
    return _write(path, content, f"{value} at byte {place}")


def overwrite_a_run(folder: Path, rng: random.Random) -> str:
    path, content = _member(folder, rng)
    place, length = rng.randrange(len(content)), rng.randrange(1, 200)
    filler = rng.choice((b"\xff", b"\x00", b"\x7f", bytes([rng.randrange(256)])))
    content[place : place + length] = filler * len(content[place : place + length])
    return _write(path, content, f"{length} bytes of {filler.hex()} at {place}")


def change_the_length(folder: Path, rng: random.Random) -> str:
    path, content = _member(folder, rng)
    if rng.random() < 0.6:
        size = rng.choice((0, 1, 8, len(content) // 2, len(content) - 1, len(content) - 8, rng.randrange(len(content))))
        return _write(path, content[:size], f"cut to {size}")
    extra = rng.choice((b"\x00", b"\x00" * 8, rng.randbytes(64), bytes(content)))
    return _write(path, content + extra, f"longer by {len(extra)}")


def make_it_huge(folder: Path, rng: random.Random) -> str:
    path, _ = _member(folder, rng)
    size = rng.choice((200 << 20, 700 << 20))
    os.truncate(path, size)  # a hole, which takes no room on the disk
    return f"{path.name}: {size} bytes, mostly zeros"


def shuffle_members(folder: Path, rng: random.Random) -> str:
    first, second = rng.sample(sorted(folder.iterdir()), 2)
    match rng.randrange(5):
        case 0:
            first.rename(folder / "swap")
            second.rename(first)
            (folder / "swap").rename(second)
            return f"{first.name} and {second.name} swapped"
        case 1:
            shutil.copy(first, second)
            return f"{second.name}: a copy of {first.name}"
        case 2:
            first.unlink()
            return f"{first.name}: gone"
        case 3:
            first.rename(folder / first.name.upper())
            return f"{first.name}: renamed"
        case _:
            shutil.copy(first, folder / rng.choice(("more.bin", ".hidden", "weights.pt")))
            return "a member more"


def change_json(folder: Path, rng: random.Random) -> str:
    path = folder / rng.choice(("model.json", "encoder.json"))
    tree = json.loads(path.read_text())
    done = _change_tree(tree, rng)
    text = json.dumps(tree, indent=2, sort_keys=True)
    if rng.random() < 0.05:
        text = rng.choice(("[" * 100_000, '{"a":' * 50_000, "null", "[]", "1" * 10_000, text + text, "\ufeff" + text))
        done = "another document"
    path.write_text(text)
    return f"{path.name}: {done}"


def change_the_weights(folder: Path, rng: random.Random) -> str:
    path = folder / "weights.safetensors"
    if not path.exists():
        return change_an_array(folder, rng)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + size]), bytearray(content[8 + size :])
    if rng.random() < 0.3:
        place, value = 4 * rng.randrange(len(data) // 4), rng.choice((np.nan, np.inf, 3e38, -1e20, 1e10, 1e-40))
        data[place : place + 4] = np.float32(value).tobytes()
        done = f"a weight is {value}"
    else:
        done = f"header, {_change_tree(header, rng)}"
    text = json.dumps(header).encode()
    return _write(path, bytearray(len(text).to_bytes(8, "little") + text + data), done)


def change_an_array(folder: Path, rng: random.Random) -> str:
    path = rng.choice(sorted(folder.glob("*.npy")))
    array = np.load(path, allow_pickle=False)
    match rng.randrange(7):
        case 0:
            dtype = rng.choice(("<f8", ">f4", "<f2", "<i4", "<i8", "<u8", "<c8", "<U4", "|b1"))
            np.save(path, array.astype(dtype))
            return f"{path.name}: {dtype}"
        case 1:
            np.save(path, np.asfortranarray(array))
            return f"{path.name}: in Fortran's order"
        case 2:
            array = array[rng.choice((slice(1, None), slice(0, 0), slice(None, None, 2)))]
        case 3:
            array = array.reshape(rng.choice(((-1,), (1, *array.shape), (*array.shape, 1), array.shape[::-1])))
        case 4:
            place = rng.randrange(array.size)
            value = rng.choice((np.nan, np.inf, 3e38, 1e20) if array.dtype == np.float32 else (-1, -(2**63), 2**62))
            array.reshape(-1)[place] = np.asarray(value).astype(array.dtype)
            np.save(path, array)
            return f"{path.name}: {value}"
        case 5:
            array = np.concatenate([array, array])
        case _:
            header = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': ({rng.choice(HUGE)}, 4), }}\n"
            content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + array.tobytes()
            return _write(path, bytearray(content), header.strip())
    np.save(path, array)
    return f"{path.name}: shape {array.shape}"


def change_a_table(folder: Path, rng: random.Random) -> str:
    path = rng.choice(sorted(folder.glob("*.arrow")))
    table = pl.read_ipc(path.read_bytes())
    name = rng.choice(table.columns)
    column = table.get_column(name)
    changes: list[Callable[[], tuple[str, pl.DataFrame]]] = [
        lambda: ("without a row", table.slice(1)),
        lambda: ("without rows", table.head(0)),
        lambda: ("twice the rows", pl.concat([table, table])),
        lambda: ("a row repeated", pl.concat([table.slice(1), table.head(1).clear(0), table.slice(1, 1)])),
        lambda: (f"without {name}", table.drop(name)),
        lambda: (f"{name} renamed", table.rename({name: rng.choice(("x", "", "item_id ", "^.*$"))})),
        lambda: ("reversed", table.reverse()),
        lambda: ("columns reversed", table.select(table.columns[::-1])),
        lambda: ("a column more", table.with_columns(more=pl.lit(1))),
        lambda: (f"{name} is null", table.with_columns(pl.lit(None, column.dtype).alias(name))),
        lambda: (f"first {name} is null", table.with_columns(_first_is_null(column))),
        lambda: (f"{name} as {(dtype := rng.choice(DTYPES))}", table.with_columns(column.cast(dtype, strict=False))),
        lambda: (f"{name} in lists", table.with_columns(column.implode().new_from_index(0, table.height).alias(name))),
        lambda: (f"{name} constant", table.with_columns(column.new_from_index(0, table.height))),
        lambda: (f"{name} out of range", table.with_columns(_out_of_range(column, rng))),
        lambda: ("compressed", table),
    ]
    try:
        done, table = rng.choice(changes)()
    except (ValueError, pl.exceptions.PolarsError):  # the change does not suit the column
        done, table = f"without {name}", table.drop(name)
    table.write_ipc(path, compression="zstd" if done == "compressed" else "uncompressed")
    return f"{path.name}: {done}"


DTYPES = (
    pl.Int8, pl.Int64, pl.UInt64, pl.Float32, pl.Float64, pl.String, pl.Binary, pl.Boolean, pl.Categorical, pl.Null,
    pl.Datetime("ns"), pl.Date, pl.Duration("us"), pl.List(pl.Int64), pl.List(pl.Int32), pl.Int128, pl.Decimal(38, 2),
)  # fmt: skip


def change_the_index(folder: Path, rng: random.Random) -> str:
    """Anywhere but in the vectors at the end, which is where FAISS trusts a file."""
    path = folder / "index.faiss"
    if not path.exists():
        path = folder / rng.choice(("offsets.npy", "neighbours.npy", "weights.npy"))
    vectors = (folder / "vectors.npy").stat().st_size - 128 if path.suffix == ".faiss" else 0
    content = bytearray(path.read_bytes())
    place = rng.randrange(max(60, len(content) - vectors)) // 4 * 4 + rng.choice((0, 1))
    value = rng.choice((*HUGE, 200, 199, 2, 2**32 - 2, rng.getrandbits(31)))
    size = rng.choice((4, 8))
    content[place : place + size] = (value % 2 ** (8 * size)).to_bytes(size, "little")
    return _write(path, content, f"{value} at byte {place}")


def change_the_manifest(folder: Path, rng: random.Random) -> str:
    path = folder / "manifest.json"
    tree = json.loads(path.read_text())
    tree.pop("digest")
    done = _change_tree(tree, rng)
    path.write_bytes(sealed(tree))
    return f"manifest.json: {done}"


MUTATIONS = (
    flip_a_bit, flip_a_bit, overwrite_a_number, overwrite_a_number, overwrite_a_run, change_the_length, make_it_huge,
    shuffle_members, change_json, change_json, change_the_weights, change_an_array, change_a_table, change_a_table,
    change_the_index, change_the_index, change_the_manifest,
)  # fmt: skip


def _member(folder: Path, rng: random.Random) -> tuple[Path, bytearray]:
    path = rng.choice(sorted(path for path in folder.iterdir() if path.name != "manifest.json"))
    return path, bytearray(path.read_bytes())


def _write(path: Path, content: bytearray, done: str) -> str:
    path.write_bytes(content)
    return f"{path.name}: {done}"


def _first_is_null(column: pl.Series) -> pl.Series:
    return pl.select(pl.when(pl.int_range(pl.len()) > 0).then(pl.lit(column)).alias(column.name)).to_series()


def _out_of_range(column: pl.Series, rng: random.Random) -> pl.Series:
    value = rng.choice((-1, 2**31 - 1, 10**6))
    if isinstance(column.dtype, pl.List):
        return pl.Series(column.name, [[value]] * len(column), dtype=column.dtype)
    if isinstance(column.dtype, pl.Array):
        return pl.Series(column.name, [[float("nan")] * column.dtype.size] * len(column), dtype=column.dtype)
    return column.reverse()


def _change_tree(tree: Any, rng: random.Random) -> str:
    """Change one value somewhere in a JSON document."""
    places = list(_places(tree, ()))
    *way, last = rng.choice(places)
    for key in way:
        tree = tree[key]
    name = ".".join(map(str, [*way, last]))[:80]
    match rng.randrange(5):
        case 0 if isinstance(tree, dict):
            del tree[last]
            return f"without {name}"
        case 1 if isinstance(tree, dict):
            tree[f"{last}x"] = tree.pop(last)
            return f"{name} renamed"
        case 2 if isinstance(tree, list):
            tree.append(tree[last])
            return f"{name} repeated"
        case 3 if isinstance(tree[last], int | float):
            tree[last] = rng.choice((-tree[last], tree[last] + 1, tree[last] * 2, tree[last] / 3, str(tree[last])))
        case _:
            tree[last] = rng.choice(VALUES)
    return f"{name} is {str(tree[last])[:40]}"


def _places(tree: Any, way: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(entries)[:30]:
        yield (*way, key)
        yield from _places(value, (*way, key))


def mutate(folder: Path, seed: int) -> str:
    """Change a bundle and seal it again; the same seed does the same. Returns what was done."""
    rng = random.Random(seed)
    change = rng.choice(MUTATIONS)
    if change is change_the_manifest:
        return f"{change.__name__}: {change(folder, rng)}"
    (folder / "manifest.json").unlink()
    done = change(folder, rng)
    (folder / "manifest.json").unlink(missing_ok=True)
    seal(folder)
    return f"{change.__name__}: {done}"


# Answers


def load_and_ask(folder: Path) -> str:
    """Load a bundle and ask it everything; returns the verdict."""
    try:
        retriever = Retriever.load(folder)
    except BundleError as error:
        return f"refused {one_line(error)}"
    try:
        ask(retriever)
    except InputError as error:
        return f"refused when asked {one_line(error)}"
    return "sound"


def one_line(error: Exception) -> str:
    message = str(error)
    assert "\n" not in message
    return message


def ask(retriever: Retriever) -> None:
    """Every kind of answer, and everything that is shown of it."""
    ids = retriever.bundle.encoder.item_ids
    histories = [ids.head(3).to_list(), ids.tail(2).to_list(), [], ids.to_list()]
    for answers in (
        retriever.recommend(histories[:1], k=5),
        retriever.recommend(histories * 3, k=len(ids) + 5, exclude=ids.head(1)),
        retriever.similar_items(ids.head(2), k=5),
        *([retriever.search_text(["the sea", ""], k=5)] if isinstance(retriever.bundle, Bundle) else []),
    ):
        answers.to_frame()
        repr(answers)
        answers._repr_html_()
    retriever.explain(ids.head(3), ids[-1])
    for name, dtype in retriever.bundle.items.schema.items():
        operator, value = ("contains", "t1") if isinstance(dtype, pl.List) else ("==", retriever.bundle.items[name][0])
        if value is not None:
            with _allowing(InputError):  # the value may not suit a changed column
                retriever.recommend(histories, where=[(name, operator, value)])
    retriever.titles_of(ids)


@contextmanager
def _allowing(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind as error:
        one_line(error)
        if isinstance(error, BundleError):
            raise


def in_a_child(work: Callable[[], str]) -> tuple[str, float, int]:
    """Run ``work`` in a fork; returns its result or what ended it, its CPU seconds, and the memory that it added."""
    before = _resident()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            result = work()
        except BaseException as error:
            result = f"WRONG {type(error).__name__}: {str(error)[:300]}"
        os.write(write, result.encode("utf-8", "replace")[:60_000])
        os._exit(0)
    os.close(write)
    timer = time.monotonic() + MAX_WALL
    while not (done := os.wait4(child, os.WNOHANG))[0]:
        if time.monotonic() > timer:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    _, status, usage = done
    with os.fdopen(read, "rb") as pipe:
        result = pipe.read().decode()
    if os.WIFSIGNALED(status):
        result = f"WRONG signal {signal.Signals(os.WTERMSIG(status)).name}"
    return result or "WRONG nothing", usage.ru_utime + usage.ru_stime, max(0, usage.ru_maxrss * 1024 - before)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def outcome(source: Path, folder: Path, seed: int) -> Outcome:
    """Mutate a copy of a bundle at ``folder``, and see what becomes of it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    mutation, _, _ = in_a_child(lambda: mutate(folder, seed))
    assert not mutation.startswith("WRONG"), f"{mutation} of seed {seed}"
    result, cpu, memory = in_a_child(lambda: load_and_ask(folder))
    verdict = next((v for v in ("refused when asked", "refused", "sound") if result.startswith(v)), "WRONG")
    if cpu > MAX_CPU or memory > MAX_MEMORY:
        verdict = "WRONG"
    return Outcome(f"{source.name}, {mutation}", verdict, result, cpu, memory)


def import_what_answers_need(bundle: Path) -> None:
    """Import here what loading and answering import late, so that children need not; they are what is measured."""

    def modules() -> str:
        load_and_ask(bundle)
        return " ".join(sys.modules)

    for name in in_a_child(modules)[0].split():
        if name not in sys.modules and name.partition(".")[0] not in ("__main__", "__mp_main__"):
            with suppress(ImportError):
                importlib.import_module(name)


def train_one(out: Path) -> None:
    """Train a small model with every kind of column, and seal its bundle at ``out``/run/bundle."""
    from features.build import build
    from recsys.config import parse_config
    from recsys.synthetic import make_world
    from training import checkpoint, loop, publish
    from training.description import TrainingDescription
    from training.evaluation import BASELINES
    from training.publish_baseline import seal_baseline

    world = make_world(seed=0, num_users=300, num_items=200)
    for name in ("events", "items"):
        getattr(world, name).write_parquet(out / f"{name}.parquet")
    item = [{"name": "genre", "kind": "categorical"}, {"name": "tags", "kind": "multi_categorical"},
            {"name": "title", "kind": "text"}, {"name": "year", "kind": "numeric"}]  # fmt: skip
    config = parse_config(
        {
            "data": {"time": "timestamp"} | {n: str(out / f"{n}.parquet") for n in ("events", "items")},
            "features": {"item": item}, "model": {"embedding_dim": 16}, "training": {"epochs": 1},
        },
        "benchmark",
    )  # fmt: skip
    dataset = build(config, out / "run" / "dataset")
    loop.train(config, dataset, out / "run")
    seal_baseline(next(baseline for baseline in BASELINES if baseline.name == "ease"), dataset, out / "ease")
    trained = checkpoint.load(out / "run" / "model.safetensors")
    publish.seal(TrainingDescription.read(out / "run"), trained, out / "run" / "bundle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    def prepare() -> str:
        train_one(options.out)
        bundles(options.out / "run" / "bundle", options.out)
        return "done"

    if not all((options.out / kind / "manifest.json").exists() for kind in KINDS):
        print("prepared:", in_a_child(prepare)[0])  # in a child: a process that used Polars cannot be forked
    import_what_answers_need(options.out / KINDS[0])
    outcomes = []
    for seed in range(options.first_seed, options.first_seed + options.mutations):
        source = options.out / KINDS[seed % len(KINDS)]
        outcomes.append(outcome(source, options.out / f"mutated-{options.first_seed}", seed))
        if outcomes[-1].verdict not in ("refused",):
            print(seed, outcomes[-1].verdict, "|", outcomes[-1].mutation, "|", outcomes[-1].detail[:200], flush=True)
    report(outcomes)
    sys.exit(any(outcome.verdict == "WRONG" for outcome in outcomes))


def report(outcomes: list[Outcome]) -> None:
    """Print the totals, and by kind of mutation."""
    verdicts = collections.Counter(outcome.verdict for outcome in outcomes)
    print(", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()))
    cpu, memory = max(outcome.cpu for outcome in outcomes), max(outcome.memory for outcome in outcomes)
    print(f"most CPU {cpu:.1f} s, most memory added {memory / 2**20:.0f} MB")
    kinds = sorted({outcome.mutation.split(", ")[1].split(":")[0] for outcome in outcomes})
    for kind in kinds:
        count = collections.Counter(o.verdict for o in outcomes if f", {kind}:" in o.mutation)
        print(f"  {kind:22}", ", ".join(f"{number} {verdict}" for verdict, number in count.most_common()))


if __name__ == "__main__":
    main()
