import tomllib
from pathlib import Path

import pytest

from features.starter_config.suggestion import in_comment, model_name, quoted


@pytest.mark.parametrize("text", ["plain", 'a "quote" \\ and \x7f', "söme 題\n"])
def test_text_survives_toml(text):
    assert tomllib.loads(f"a = {quoted(text)}  # {in_comment(text)}") == {"a": text}


@pytest.mark.parametrize(
    ("path", "expected"), [("shop/events.csv", "shop"), ("x/My Orders.csv", "my-orders"), ("data/events.csv", "model")]
)
def test_a_model_is_named_after_the_log_or_its_folder(path, expected):
    assert model_name(Path(path)) == expected
