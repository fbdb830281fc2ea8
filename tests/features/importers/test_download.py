import polars as pl

from features.importers.download import Download


def test_only_the_tables_that_there_are_have_names() -> None:
    events, users = pl.DataFrame({"user_id": [1]}), pl.DataFrame({"user_id": [1]})
    assert [name for name, _ in Download(events).tables()] == ["events"]
    assert [table is users for _, table in Download(events, users=users).tables()] == [False, True]
