from pathlib import Path

import pytest

from recsys.errors import InputError
from recsys.retriever import RetrieverSource, same_retriever


def test_a_source_is_fixed_for_other_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, registry_uri: str, registrar
) -> None:
    monkeypatch.chdir(tmp_path)
    source = RetrieverSource("run/bundle", items="items.parquet", users="s3://shop/users.parquet").fixed()
    assert (source.bundle, source.items) == (f"{tmp_path}/run/bundle", f"{tmp_path}/items.parquet")
    assert (source.users, source.registry_uri) == ("s3://shop/users.parquet", None)
    registrar(registry_uri)()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry_uri)
    source = RetrieverSource("models:/small@challenger").fixed()
    assert (source.bundle, source.registry_uri) == ("models:/small/1", registry_uri)
    assert RetrieverSource("models:/small/1").fixed().bundle == "models:/small/1"
    assert RetrieverSource("models:/small@champion").fixed().bundle == "models:/small@champion"  # there is none


def test_the_same_retriever_is_loaded_once_or_refused(small_run) -> None:
    source = RetrieverSource(str(small_run.run / "bundle"))
    retriever = same_retriever(source, small_run.bundle_id, None)
    assert same_retriever(source, small_run.bundle_id, None) is retriever
    with pytest.raises(InputError, match=r"is bundle .* here and 0000 where the job was started"):
        same_retriever(source, "0000", None)
