"""What the retriever of the small training is asked about; and a bucket on this machine, of moto's server for S3."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest


@pytest.fixture(scope="module")
def histories(small_run):
    """Whole histories by user id, in order."""
    return small_run.events.sort("timestamp", maintain_order=True).group_by("user_id").agg("item_id").sort("user_id")


@pytest.fixture(scope="module")
def items(retriever):
    return retriever.bundle.items


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The address of an empty bucket of the test's own, for which the environment has credentials; and a cache."""
    import obstore
    from obstore.store import HTTPStore

    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_address, "AWS_ALLOW_HTTP": "true", "RECSYS_CACHE": str(tmp_path / "cache"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    bucket = f"b{abs(hash(request.node.nodeid)):x}"
    obstore.put(HTTPStore(s3_address, client_options={"allow_http": True}), bucket, b"")  # PUT /BUCKET makes one
    return f"s3://{bucket}"


@pytest.fixture
def put(s3: str) -> Callable[[str, pl.DataFrame | bytes], None]:
    """A function: write an object, Parquet of a table or bytes, to a key of the bucket."""
    import io

    import obstore
    from obstore.store import from_url

    store = from_url(s3)

    def write(key: str, content: pl.DataFrame | bytes) -> None:
        if isinstance(content, pl.DataFrame):
            buffer = io.BytesIO()
            content.write_parquet(buffer)
            content = buffer.getvalue()
        obstore.put(store, key, content)

    return write
