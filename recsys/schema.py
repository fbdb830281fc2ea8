"""Tables at the border: find the files, check columns and id types, with one clear error each."""

from pathlib import Path

import polars as pl

RECOMMENDATIONS = {"rank": pl.Int32, "score": pl.Float32}  # beside user_id and item_id in the input's own types


def scan(location: str, role: str) -> pl.LazyFrame:
    """A lazy table from one Parquet file, a glob, or a hive-partitioned folder. ``role`` names it in errors."""
    path = Path(location)
    pattern = str(path / "**" / "*.parquet") if path.is_dir() else location
    try:
        frame = pl.scan_parquet(pattern, glob=True, hive_partitioning=path.is_dir())
        frame.collect_schema()
    except (FileNotFoundError, pl.exceptions.ComputeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"cannot read {role} at {location}: {reason}; expected Parquet: a file, glob, folder"
        ) from error
    return frame


def source_files(location: str) -> list[Path]:
    """The files behind ``location``, sorted: what an input's digest covers."""
    path = Path(location)
    if path.is_dir():
        return sorted(path.rglob("*.parquet"))
    return [path] if path.is_file() else sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))


def require_columns(frame: pl.LazyFrame, columns: list[str], role: str, location: str) -> None:
    """Raise ValueError where ``frame`` lacks one of ``columns``."""
    present = frame.collect_schema().names()
    missing = [column for column in columns if column not in present]
    if missing:
        raise ValueError(
            f"{role} at {location} has no column {missing[0]!r}; found {', '.join(present)}: "
            f"name the right column in the config"
        )


def id_type(frame: pl.LazyFrame, column: str, role: str) -> pl.DataType:
    """The type in which an id column is handled: integers as they are, text as String; anything else is refused."""
    dtype = frame.collect_schema()[column]
    if dtype.is_integer() or dtype == pl.String:
        return dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    raise ValueError(f"{role}: {column} is {dtype}; ids are integers or strings: cast the column")


def require_same_kind(first: pl.DataType, second: pl.DataType, column: str, first_role: str, second_role: str) -> None:
    """Raise ValueError where one side's ids are integers and the other's are strings: they could never match."""
    if first.is_integer() != second.is_integer():
        raise ValueError(
            f"{column} is {first} in {first_role} but {second} in {second_role}; "
            f"ids must be of one kind everywhere: cast one of them"
        )
