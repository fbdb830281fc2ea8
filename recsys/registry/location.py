"""Where a registry is: what MLflow is given, and what may be shown of it, which is never a password."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from ..errors import RegistryError

SQLITE = "sqlite:///"
SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
DATABRICKS = "databricks"  # without a host; its Unity Catalog, databricks-uc, keeps no runs
DATABASES = ("postgresql", "mysql", "mssql")  # what MLflow can use besides SQLite
DATABASE_ENDINGS = (".db", ".sqlite", ".sqlite3")
EXPECTED = "expected sqlite:///PATH, the path of a .db file, or http://HOST:PORT"
WHERE = "check --registry or MLFLOW_TRACKING_URI"
BARE_USERINFO = re.compile(r"^[^\s/:@]+:[^\s/]*@")  # of an address without a scheme
USERINFO = re.compile(r"\b(?!sqlite:|file:)([a-z][a-z0-9+.-]*://)[^\s'\"]*@", re.IGNORECASE)
QUERY = re.compile(r"([?&;][\w.~%-]+=)[^&;\s'\")]+")
SHORTEST_SECRET = 4  # characters: shorter ones would blank ordinary words


@dataclass(frozen=True)
class Location:
    """Where a registry is.

    address: the URI for MLflow. shown: the same without secrets, for messages. database: the file, if it is SQLite.
    """

    address: str
    shown: str
    database: Path | None = None

    @staticmethod
    def of(uri: str | None) -> "Location":
        """The registry at ``uri``, else at MLFLOW_TRACKING_URI, else at mlflow.db in the working directory.

        Raises:
            RegistryError: No registry can be there.
        """
        uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
        uri = SCHEME.sub(lambda scheme: scheme[0].lower(), uri)
        shown = BARE_USERINFO.sub("***@", without_secrets(uri))
        try:
            parts = urlsplit(uri)
            scheme, host, _ = parts.scheme.lower(), parts.hostname, parts.port
        except ValueError as error:  # its text may hold a part of the password
            spelling = "; in a password, write : / ? # [ ] @ as %3A %2F %3F %23 %5B %5D %40" if "@" in uri else ""
            raise RegistryError(f"registry {shown} is no valid address{spelling}; {EXPECTED}; {WHERE}") from (
                None if "@" in uri else error
            )
        if uri.startswith(SQLITE):
            return _in_file(unquote(uri.removeprefix(SQLITE)), shown)  # MLflow decodes it too
        if scheme in ("http", "https"):
            if host:
                return Location(uri, shown)
        elif scheme.split("+")[0] in DATABASES or DATABRICKS in (uri, scheme):
            return Location(uri, shown)
        elif not scheme and (uri.endswith(DATABASE_ENDINGS) or Path(uri).is_file()):
            return _in_file(uri, shown)
        elif scheme == "file" or not (scheme or uri.startswith(DATABRICKS)):
            raise RegistryError(
                f"registry {shown} is a folder of files, which MLflow no longer maintains; {EXPECTED}. `mlflow "
                f"migrate-filestore` moves what is there; {WHERE}"
            )
        raise RegistryError(f"registry {shown} is nothing that MLflow can open; {EXPECTED}; {WHERE}")

    def hide(self, text: str) -> str:
        """``text`` without the secrets of this address."""
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return without_secrets(text)

    @property
    def has_secrets(self) -> bool:
        """Whether a traceback that shows the address would show a secret."""
        return self.shown != self.address and self.database is None

    def _secrets(self) -> set[str]:
        if self.database is not None:
            return set()
        parts = urlsplit(self.address)
        userinfo, at, _ = parts.netloc.rpartition("@")
        found = {userinfo.partition(":")[2] or userinfo} if at else set()
        found |= {value for _, value in parse_qsl(parts.query)}
        found |= {unquote(secret) for secret in found} | {quote(secret, safe="") for secret in found}
        return {secret for secret in found if len(secret) >= SHORTEST_SECRET}


def without_secrets(text: str) -> str:
    """``text`` in which the logins and query values of all URLs are replaced by ***."""
    return QUERY.sub(r"\1***", USERINFO.sub(r"\1***@", text))


def _in_file(path: str, shown: str) -> Location:
    """A SQLite registry; its path is absolute once it is here, so that another working directory changes nothing."""
    if path in ("", ":memory:"):
        raise RegistryError(f"registry {shown} is in memory and would be lost with this process; {EXPECTED}; {WHERE}")
    database = Path(path).expanduser().absolute()
    wrong = [character for character in "%?" if character in str(database)]
    if wrong:
        raise RegistryError(
            f"registry {database}: MLflow cannot open a database whose path has {' or '.join(wrong)}, which it reads "
            "as part of a URL; rename that folder, or give another place with --registry or MLFLOW_TRACKING_URI"
        )
    return Location(f"{SQLITE}{database}", f"{SQLITE}{database}", database)
