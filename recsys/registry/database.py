"""The file of a SQLite registry: made whole or not at all, and refused where MLflow would wait, or change another's."""

import os
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path

from ..errors import RegistryError


def is_there(database: Path) -> bool:
    """Whether there is a registry; a file without content is none, and a mere look must not make one."""
    try:
        return database.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def require_usable(database: Path) -> None:
    """Check that the file is a registry of this MLflow; MLflow itself would try for minutes, or add its own tables.

    Raises:
        sqlite3.Error: It cannot be read.
        RegistryError: It is of another program, or of a later MLflow.
    """
    if not database.is_file():
        raise RegistryError(
            f"registry {database} is a folder; expected the file of a SQLite database; check --registry"
        )
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as opened:
        tables = {name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and "alembic_version" not in tables:
            raise RegistryError(
                f"registry {database} is the database of another program; expected one of MLflow, or none; give "
                "another path with --registry"
            )
        revisions = [] if not tables else opened.execute("SELECT version_num FROM alembic_version").fetchall()
    for (revision,) in revisions:
        if not _is_known(revision):
            raise RegistryError(
                f"registry {database} is of a later MLflow than {_installed()} (schema {revision}); install the one "
                "that wrote it, or give another --registry"
            )


def make_database(database: Path) -> None:
    """Create a registry, whole or not at all.

    MLflow takes seconds for it, and leaves a broken one if it is killed or if two processes do it at once.
    """
    import mlflow

    temporary = database.with_name(f".{database.name}.{uuid.uuid4().hex}.partial")
    try:
        with closing(sqlite3.connect(temporary)) as opened:
            opened.execute("PRAGMA schema_version")  # raises at once where the folder cannot be written
        mlflow.MlflowClient(f"sqlite:///{temporary}").search_experiments()
        if database.exists() and not is_there(database):
            temporary.replace(database)
        else:
            with suppress(FileExistsError):  # another process was faster
                database.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(database: Path) -> None:
    """Raise RegistryError unless the file, or where there is none its folder, can be written."""
    for path in (database.parent, *([database] if database.exists() else [])):
        if not os.access(path, os.W_OK):
            found = "cannot be written" if path.exists() else "does not exist"
            raise RegistryError(
                f"registry {database}: {path} {found}; expected a folder and a file that you may write to; change its "
                "permissions, or give another --registry"
            )


def _is_known(revision: str) -> bool:
    import mlflow

    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    return any(path.name.startswith(f"{revision}_") for path in migrations.iterdir())


def _installed() -> str:
    import mlflow

    return str(mlflow.__version__)
