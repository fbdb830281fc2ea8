"""From the name of an encoder to the function that encodes. A name in a bundle never runs anything by itself."""

import importlib
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import NamedTuple

from ..config import ENCODER_FUNCTION, USEM3
from ..errors import InputError, reason
from . import usem3
from .text_encoding import PROBES, EncodeTexts, TextEncoding, unit_vector


def import_functions(names: Iterable[str]) -> dict[str, EncodeTexts]:
    """Import the encoders of these names, as "package.module:function". Whoever calls this trusts their code.

    Modules are looked for where Python looks, and in the working directory.

    Raises:
        InputError: There is no such function.
    """
    return {name: _imported(name) for name in dict.fromkeys(names) if name != USEM3}


def encoder_functions(allowed: Mapping[str, EncodeTexts] | None = None) -> dict[str, EncodeTexts]:
    """All encoders that may run: those allowed by their names, and usem3, which is no foreign code."""
    for name, function in (allowed or {}).items():
        if name == USEM3 or not ENCODER_FUNCTION.fullmatch(str(name)) or not callable(function):
            raise InputError(
                f"encoders has {name!r}: {type(function).__name__}; expected functions by name, as in "
                '{"package.module:function": function}'
            )
    return {USEM3: usem3.encode_texts, **(allowed or {})}


def fit_encoding(encoder: str, column: str, functions: Mapping[str, EncodeTexts]) -> TextEncoding:
    """What identifies an encoder now, with the function that encodes.

    Args:
        encoder: Its name.
        column: The metadata column that it is to read.
        functions: Those that may run.

    Raises:
        InputError: It is not among them, is not installed, or returns no vectors.
    """
    if encoder not in functions:
        raise InputError(f"encoder {encoder!r} is not among those that may run: {', '.join(sorted(functions))}")
    function = functions[encoder]
    probes = tuple(tuple(round(float(x), 6) for x in unit_vector(function, text, encoder)) for text in PROBES)
    if len({len(probe) for probe in probes}) > 1:
        raise InputError(f"encoder {encoder!r} returns vectors of different lengths; expected one length")
    known = encoder_version(encoder)
    encoding = TextEncoding(encoder, column, version=known.version, weights=known.weights, probes=probes)
    return encoding.running(function)


class EncoderVersion(NamedTuple):
    """What is known of an encoder without running it. version, weights: those of ``TextEncoding``."""

    encoder: str
    version: str | None
    weights: str | None


def encoder_version(encoder: str) -> EncoderVersion:
    """Which version of an encoder is installed. Raises InputError if usem3 is to be used and is not."""
    if encoder == USEM3:
        return EncoderVersion(encoder, usem3.installed_version(), usem3.weights_digest())
    return EncoderVersion(encoder, _package_version(encoder), None)


def _package_version(encoder: str) -> str | None:
    """The version of the package that a function comes from; None where it is no installed package."""
    package = encoder.partition(":")[0].partition(".")[0]
    distributions = packages_distributions().get(package)
    return version(distributions[0]) if distributions else None


def _imported(name: str) -> EncodeTexts:
    if not ENCODER_FUNCTION.fullmatch(name):
        raise InputError(f'encoder {name!r} is no function; expected one as "package.module:function"')
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # as `python -m` does; the console script has its own folder there
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # importing somebody's module may raise anything
        raise InputError(
            f"encoder {name!r} cannot be imported ({reason(error)}); expected a function of a module that is installed "
            "or lies in the working directory"
        ) from error
    if not callable(function):
        raise InputError(
            f"encoder {name!r} is of type {type(function).__name__}; expected a function of a list of texts"
        )
    encode: EncodeTexts = function
    return encode
