"""Who may ask what: everything with the key, if there is one; else what is not about the service itself."""

import base64
import binascii
import hmac
import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import Scope

from recsys.errors import InputError

from .failures import FailedError

KEY_VARIABLE = "RECSYS_API_KEY"
_OPEN = "/health/"  # to the probes of a load balancer, which know no key
_PUBLIC = ("/v1/", "/invocations", "/openapi.json", _OPEN)


@dataclass(frozen=True)
class Access:
    """api_key: What a caller must know; None lets everybody ask, and this machine alone change and look inside."""

    api_key: str | None = field(default=None, repr=False)

    @staticmethod
    def read(key_file: Path | None) -> "Access":
        """The key of a file, else of the environment.

        Raises:
            InputError: The file cannot be read, or the key is too short to be one.
        """
        source = KEY_VARIABLE if key_file is None else str(key_file)
        try:
            key = os.environ.get(KEY_VARIABLE) if key_file is None else key_file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{source}: no key can be read; expected a text file that this account may read"
            ) from error
        if key is None:
            return Access()
        key = key.strip()
        if len(key) < 16 or not key.isascii():
            raise InputError(f"the key of {source} is no secret; expected at least 16 characters of ASCII")
        return Access(key)

    def require(self, scope: Scope) -> None:
        """Raise FailedError unless the request may be answered. The peer's address counts, no header of a proxy."""
        path = scope["path"]
        if self.api_key is not None:
            if not path.startswith(_OPEN) and not _equal(_key_in(Headers(scope=scope)), self.api_key):
                raise FailedError(401, "a key is needed: Authorization: Bearer KEY")
        elif (scope["method"] == "PUT" or not path.startswith(_PUBLIC)) and not _is_local(scope, Headers(scope=scope)):
            raise FailedError(403, f"answered on this machine only, unless the service has a key ({KEY_VARIABLE})")


def _key_in(headers: Headers) -> str:
    """The key that a request brings: as a bearer, or as the password that a browser asks for."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _equal(one: str, other: str) -> bool:
    """Compare in a time that does not tell how much is right."""
    return hmac.compare_digest(one.encode(), other.encode())


def _is_local(scope: Scope, headers: Headers) -> bool:
    """Whether a person or program of this machine asks for this machine.

    The host must not be a name of somebody's: a page of theirs could have it point here, and then read what it asks.
    """
    host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
    return _is_loopback((scope.get("client") or ("",))[0]) and (host == "localhost" or _is_loopback(host.strip("[]")))


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback
