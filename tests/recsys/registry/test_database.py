"""The file of a SQLite registry is made whole, and refused with its own cause."""

import shutil
import sqlite3
import stat
import time
from contextlib import closing

import pytest

from recsys.errors import InputError, RegistryError
from recsys.registry.database import is_there
from recsys.registry.sources import resolve
from recsys.registry.store import Registry

CHAMPION = "models:/small@champion"


def changed(path, statement):
    with closing(sqlite3.connect(path)) as opened:
        opened.execute(statement)
        opened.commit()


def test_a_database_is_whole_or_not_there(tmp_path, empty_registry, monkeypatch):
    from mlflow import MlflowClient

    path, real = tmp_path / "new.db", MlflowClient.search_experiments
    store = Registry(f"sqlite:///{path}")

    def killed(client):
        raise KeyboardInterrupt

    def another_is_faster(client):
        real(client)
        shutil.copy(empty_registry, path)
        inodes.append(path.stat().st_ino)

    inodes = []
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "search_experiments", killed)
        with pytest.raises(KeyboardInterrupt):
            store.versions("small")
        assert not list(tmp_path.iterdir())
        patch.setattr(MlflowClient, "search_experiments", another_is_faster)
        assert store.versions("small") == []
    assert list(tmp_path.iterdir()) == [path]
    assert inodes == [path.stat().st_ino]


def test_an_empty_file_is_no_registry_until_something_is_published(tmp_path, empty_registry):
    path = tmp_path / "mlflow.db"
    path.touch()
    with pytest.raises(InputError, match="'small' has no champion"):
        resolve(CHAMPION, str(path))
    assert path.stat().st_size == 0
    Registry(str(path)).versions("small")
    assert is_there(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "text.db").write_text("no database" * 100)
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(RegistryError, match=r"^registry sqlite:.*text.db: the file is no SQLite database; check"):
        resolve(CHAMPION, f"sqlite:///{tmp_path}/text.db")
    with pytest.raises(RegistryError, match=r"^registry .*folder.db is a folder; expected the file"):
        resolve(CHAMPION, f"sqlite:///{tmp_path}/folder.db")


def test_the_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "shop.db"
    changed(path, "CREATE TABLE orders (id INTEGER)")
    content = path.read_bytes()
    with pytest.raises(RegistryError, match="is the database of another program; expected one of MLflow"):
        resolve(CHAMPION, str(path))
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("revision", "message"),
    [
        ("f00dfeed0000", r"is of a later MLflow than 3\.\S+ \(schema f00dfeed0000\); install the one that wrote it"),
        ("451aebb31d03", r"the database is of an earlier MLflow; back it up, then run `mlflow db upgrade URI`"),
    ],
)
def test_the_database_of_another_release(registry_uri, tmp_path, revision, message):
    changed(tmp_path / "mlflow.db", f"UPDATE alembic_version SET version_num = '{revision}'")
    with pytest.raises(RegistryError, match=message):
        resolve(CHAMPION, registry_uri)


def test_a_damaged_database(registry_uri, tmp_path):
    path = tmp_path / "mlflow.db"
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 40] = b"x" * (4096 * 39)
    path.write_bytes(content)
    with pytest.raises(RegistryError, match=r"^registry .*: the database is damaged; restore it from a backup$"):
        resolve(CHAMPION, registry_uri)


def test_a_database_that_another_process_holds(registry_uri, tmp_path):
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        started = time.perf_counter()
        with pytest.raises(RegistryError, match="another process holds the database; wait until it has ended"):
            resolve(CHAMPION, registry_uri)
        assert time.perf_counter() - started < 20


def test_a_registry_that_cannot_be_made_is_one_line_within_seconds(tmp_path):
    for uri in ("sqlite:////proc/mlflow.db", f"sqlite:///{tmp_path}/no/folder/mlflow.db"):
        started = time.perf_counter()
        with pytest.raises(RegistryError, match=r"^registry .*(you may write to.*, or give (another )?--registry)$"):
            Registry(uri).versions("small")
        assert time.perf_counter() - started < 5


def test_a_registry_that_cannot_be_written_is_refused_before_the_work(registry_uri, tmp_path, monkeypatch):
    """The tests may run as root, whom no permission stops: so the answer of the system is given here."""
    path = tmp_path / "mlflow.db"
    Registry(registry_uri).require_ready("small")
    path.chmod(stat.S_IRUSR)
    monkeypatch.setattr("os.access", lambda tried, mode: tried != path)
    with pytest.raises(RegistryError, match=r"mlflow.db cannot be written; expected a folder and a file"):
        Registry(registry_uri).require_ready("small")
