"""A record is read as it was written; a damaged one is one line."""

from typing import ClassVar

import pytest

from recsys.errors import InputError
from recsys.record import Record


class Weather(Record):
    FILE: ClassVar[str] = "weather.json"

    degrees: float


def test_a_record_is_read_as_it_was_written(tmp_path):
    Weather(degrees=3.5).write(tmp_path)
    assert Weather.read(tmp_path) == Weather(degrees=3.5)


@pytest.mark.parametrize("damage", ["{", '{"degrees": "warm"}', "[]"])
def test_a_damaged_record_names_its_file(tmp_path, damage):
    (tmp_path / "weather.json").write_text(damage)
    with pytest.raises(InputError, match=r"weather\.json"):
        Weather.read(tmp_path)
