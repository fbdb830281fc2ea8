import polars as pl
import pytest

from recsys.data.sources import input_error_if_unreadable


def test_a_panic_of_polars_is_one_line() -> None:
    with (
        pytest.raises(ValueError, match=r"^cannot read events: it is damaged, or changed while it was read; expected"),
        input_error_if_unreadable("events"),
    ):
        raise pl.exceptions.PanicException("\nit broke\nbecause")
