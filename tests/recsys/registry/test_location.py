"""Where a registry is, and that its password is shown to nobody."""

import pytest

from recsys.errors import RegistryError
from recsys.registry.location import Location, without_secrets


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_where_the_registry_is(tmp_path, monkeypatch):
    here = f"sqlite:///{tmp_path}/mlflow.db"
    assert Location.of(None) == Location.of("sqlite:///mlflow.db") == Location.of("mlflow.db")
    assert Location.of(None) == Location(here, here, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere:5000")
    assert Location.of(None) == Location("http://somewhere:5000", "http://somewhere:5000")
    assert Location.of("sqlite:////abs/x.db").address == "sqlite:////abs/x.db"
    assert Location.of("sqlite:////abs/two%20words/x.db").address == "sqlite:////abs/two words/x.db"
    assert Location.of("/abs/日本/x.sqlite").address == "sqlite:////abs/日本/x.sqlite"


@pytest.mark.parametrize("folder", ["two words", "日本", "a#b", "a&b=c", "a;b", "a+b", "a[b]", "it's"])
def test_a_database_in_a_folder_of_any_name(tmp_path, folder, empty_registry):
    import shutil

    from recsys.registry.store import Registry

    (tmp_path / folder).mkdir()
    shutil.copy(empty_registry, tmp_path / folder / "mlflow.db")
    store = Registry(str(tmp_path / folder / "mlflow.db"))
    store.require_ready("small")
    assert store.versions("small") == []
    assert [path.name for path in tmp_path.iterdir()] == [folder]


@pytest.mark.parametrize("folder", ["a%20b", "what?", "100%", "a?b=c"])
def test_a_folder_whose_name_mlflow_reads_as_a_url(tmp_path, monkeypatch, folder):
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    for uri in (None, "mlflow.db", "sqlite:///mlflow.db"):
        with pytest.raises(RegistryError, match=r"MLflow cannot open a database whose path has [%?], .*; rename"):
            Location.of(uri)
    assert [path.name for path in tmp_path.iterdir()] == [folder]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://somewhere", "is nothing that MLflow can open; expected sqlite:///PATH"),
        ("http://", "is nothing that MLflow can open; expected sqlite:///PATH"),
        ("mlflow", "is a folder of files, which MLflow no longer maintains; .*`mlflow migrate-filestore`"),
        ("file:///mlruns", "is a folder of files"),
        ("./mlruns", "is a folder of files"),
        ("sqlite:///:memory:", "is in memory and would be lost"),
        ("sqlite://", "is nothing that MLflow can open"),
        ("http://[x", "is no valid address; expected sqlite"),
        ("http://host:port", "is no valid address; expected sqlite"),
        ("http://host:99999", "is no valid address; expected sqlite"),
        ("user:s3cret@host", r"\*\*\*@host is nothing that MLflow can open"),
        ("user:s3cr@et@host:5000/a", r"\*\*\*@host:5000/a is nothing that MLflow can open"),
        ("databricks-uc", "is nothing that MLflow can open"),
        ("http://u:s3cr/et@host", "is no valid address; in a password, write"),
        ("http://u:s3cr#et@host", "is no valid address"),
    ],
)
def test_what_is_no_registry_is_one_line_that_says_so(uri, message):
    with pytest.raises(
        RegistryError, match=f"^registry .*{message}.*check --registry or MLFLOW_TRACKING_URI$"
    ) as raised:
        Location.of(uri)
    assert "s3cr" not in str(raised.value)
    assert raised.value.__cause__ is None or "@" not in uri


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://user:pass.word@host:5000/a", "http://***@host:5000/a"),
        ("https://token-only@host", "https://***@host"),
        ("postgresql+psycopg2://u:p@host/db?password=p&sslmode=require", "postgresql+psycopg2://***@host/db?password=***&sslmode=***"),
        ("http://u:a@b@host", "http://***@host"),
        ("http://host/path?access_token=abc", "http://host/path?access_token=***"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
    ],
)  # fmt: skip
def test_a_password_is_never_shown(uri, shown):
    location = Location.of(uri)
    assert location.shown == without_secrets(uri) == shown
    assert location.hide(f"cannot reach {uri} or {uri}") == f"cannot reach {shown} or {shown}"


@pytest.mark.parametrize(
    ("uri", "address"), [("HTTP://Host:5000", "http://Host:5000"), ("SQLite:////a.db", "sqlite:////a.db")]
)
def test_a_scheme_in_capitals_is_the_same(uri, address):
    assert Location.of(uri).address == address


def test_a_password_is_hidden_where_it_stands_alone():
    location = Location.of("http://user:p%40ss.word@host?token=abcdef")
    assert location.has_secrets
    assert not Location.of("http://host").has_secrets
    for secret in ("p%40ss.word", "p@ss.word", "abcdef"):
        assert location.hide(f"refused {secret}.") == "refused ***."
