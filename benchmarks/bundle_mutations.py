"""Changes of a bundle as a bug or an attacker could make them, each with a new seal; see resealed_bundles.py."""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.bundle.seal import seal, sealed

HUGE = (2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1, 0, 1, 2**20)
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 7, 2**20, 2**31, 2**70, 0.5, -1e308, 1e308, float("nan"), float("inf"), "", "x", "dot",
    "text", "x" * 5000, [], {}, [1], ["a", "a"], {"a": {}},
)  # fmt: skip


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
