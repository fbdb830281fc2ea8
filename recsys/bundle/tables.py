"""The Arrow tables of a bundle, checked before Polars sees them: it crashes on offsets and lists that do not fit."""

import numpy as np
import polars as pl
import pyarrow as pa

from ..data import Encoder, Jagged, Transform
from ..errors import InputError
from .arrow_file import is_compressed
from .contents import Bytes, Contents

MAX_NESTING = 16  # lists in lists and structs
NOT_PLAIN = ("union", "map", "list_view", "large_list_view", "run_end_encoded", "interval", "extension")


def read_table(content: Bytes) -> pl.DataFrame:
    """View an Arrow file as a table, after Arrow has validated all of it. Nothing is allocated."""
    if is_compressed(content):
        raise InputError("it is compressed")
    with pa.ipc.open_file(pa.py_buffer(content)) as reader:
        for field in reader.schema:
            _require_plain(field.type)
        table = reader.read_all()
    table.validate(full=True)
    frame = pl.from_arrow(table, rechunk=False)
    assert isinstance(frame, pl.DataFrame)
    return frame


def read_items(contents: Contents) -> tuple[pl.DataFrame, Encoder]:
    """The items of a bundle, whose first column is a distinct id, and the encoder that goes with them."""
    with contents.member("items.arrow") as content:
        items = read_table(content)
        require_ids(items, "item_id")
    with contents.member("encoder.json") as content:
        encoder = Encoder.parse(content.tobytes(), items.get_column("item_id"))
        _require_texts(items, encoder)
        return items, encoder


def read_users(contents: Contents, encoder: Encoder) -> pl.DataFrame:
    """The users of a bundle: distinct ids and encoded features."""
    with contents.member("users.arrow") as content:
        users = read_table(content)
        check_users(users, encoder)
    return users


def check_features(features: pl.DataFrame, encoder: Encoder) -> None:
    """Raise InputError unless these are the encoded features of the encoder's items."""
    _require_encoded(features, encoder.item_transforms)
    if encoder.item_transforms and features.height != encoder.num_items:
        raise InputError(f"it has {features.height} rows, for {encoder.num_items} items")


def check_users(users: pl.DataFrame, encoder: Encoder) -> None:
    """Raise InputError unless these are ids of users and their encoded features."""
    require_ids(users, "user_id")
    if str(users.schema["user_id"]) != encoder.user_id_type:
        raise InputError(f"user_id is {users.schema['user_id']}, in encoder.json {encoder.user_id_type}")
    _require_encoded(users.drop("user_id"), encoder.user_transforms)


def _require_texts(items: pl.DataFrame, encoder: Encoder) -> None:
    """Raise InputError unless the raw metadata has the texts that the model reads, which a search compares with."""
    for transform in encoder.item_transforms:
        dtype = items.schema.get(transform.column)
        if transform.kind == "text" and not isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Null):
            raise InputError(f"feature {transform.column!r} is a text, in items.arrow {dtype}")


def _require_plain(dtype: pa.DataType, depth: int = 0) -> None:
    """Raise InputError for types that Polars never writes, and for lists in lists without end."""
    if depth > MAX_NESTING or any(getattr(pa.types, f"is_{name}", lambda _: False)(dtype) for name in NOT_PLAIN):
        raise InputError(f"it has a column of type {str(dtype)[:80]}")
    for number in range(dtype.num_fields):
        _require_plain(dtype.field(number).type, depth + 1)
    if pa.types.is_dictionary(dtype) and not pa.types.is_integer(dtype.index_type):
        raise InputError("it has a dictionary without integers")


def require_ids(table: pl.DataFrame, name: str) -> None:
    """Raise InputError unless the first column is of this name and holds distinct ids."""
    if table.columns[:1] != [name]:
        raise InputError(f"its first column is not {name}")
    ids = table.get_column(name)
    if ids.dtype != pl.String and (not ids.dtype.is_integer() or ids.dtype in (pl.Int128, pl.UInt128)):
        raise InputError(f"{name} is {ids.dtype}, expected strings or integers")
    if ids.null_count() or ids.n_unique() != len(ids):
        raise InputError(f"{name} is missing or repeated in a row")


def _require_encoded(table: pl.DataFrame, transforms: tuple[Transform, ...]) -> None:
    """Raise InputError unless these are columns that the transforms can have returned."""
    expected = [transform.name for transform in transforms]
    if table.columns != expected:
        raise InputError(f"it has the features {table.columns}, in encoder.json {expected}")
    for transform in transforms:
        column = table.get_column(transform.name).rename("value")  # methods of Polars read some names as patterns
        dtype = pl.List(pl.Int32) if transform.is_bag else pl.Array(pl.Float32, transform.size)
        if column.dtype != dtype or column.null_count():
            raise InputError(f"feature {transform.name!r} is {column.dtype}, expected {dtype} in every row")
        if transform.is_bag:
            inner = Jagged.from_series(column).values
            is_sound = not len(inner) or (inner.min() >= 0 and inner.max() < transform.size)
        else:
            inner = column.explode().to_numpy()
            is_sound = bool(np.isfinite(inner).all())
        if not is_sound:
            raise InputError(f"feature {transform.name!r} is out of its range in a row")
