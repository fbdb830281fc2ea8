"""Compressed files are told from others by their own metadata."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from recsys.bundle.arrow_file import is_compressed
from recsys.bundle.tables import read_table

TABLE = pl.DataFrame({"id": ["a", "b"], "lists": [[1], [2, 3]], "kind": pl.Series(["u", "v"], dtype=pl.Categorical)})


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_both_writers_are_understood(compression, tmp_path):
    TABLE.write_ipc(tmp_path / "polars.arrow", compression=compression or "uncompressed")
    table = TABLE.to_arrow()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(str(tmp_path / "arrow.arrow"), table.schema, options=options) as writer:
        writer.write_table(table)
    for name in ("polars", "arrow"):
        content = np.fromfile(tmp_path / f"{name}.arrow", np.uint8)
        assert is_compressed(content) == (compression is not None)
        if compression:
            with pytest.raises(ValueError, match="it is compressed"):
                read_table(content)


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"\xff" * 100, b"\x00" * 100 + b"\xff\xff\xff\x7fARROW1"])
def test_what_is_no_arrow_file_is_refused(content):
    with pytest.raises(ValueError, match="it is no Arrow file"):
        is_compressed(np.frombuffer(content, np.uint8))
