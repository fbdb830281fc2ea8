import datetime

import pytest

from features.starter_config.roles import NamedColumns, find_log
from features.starter_config.splits import suggest_split


def split_of(look, rows, header="user,item,time"):
    return suggest_split(find_log([look("log.csv", header, rows)], NamedColumns()))


AMBIGUOUS = [(f"u{n % 60}", f"i{n % 17}", f"{n % 12 + 1}/{n % 11 + 1}/2020") for n in range(600)]


def rows(num_users, days):
    start = datetime.datetime(2020, 1, 15)
    return [
        (
            f"u{n % num_users}",
            f"i{n % 17}",
            (start + datetime.timedelta(days=days * n / (20 * num_users))).strftime("%Y-%m-%d %H:%M"),
        )
        for n in range(20 * num_users)
    ]


def test_a_clock_that_spans_enough_for_enough_users_is_split_in_time(look):
    split = split_of(look, rows(60, 100))
    assert split.kind == "temporal"
    assert split.reason.startswith("the log spans 100 days, and 60 users are tested on its last 15%")
    assert split.toml()[2:] == ['kind = "temporal"', 'val_start = "70%"', 'test_start = "85%"']


@pytest.mark.parametrize(
    ("events", "header", "reason"),
    [
        (rows(60, 10), "user,item,time", "the log spans 10.0 days; a temporal split wants 14 or more; 60 users have 3"),
        (rows(20, 100), "user,item,time", "a temporal split would have 20 users to validate with and 20 to test"),
        (AMBIGUOUS, "user,item,time", "the form of the times is undecided; once it is decided, kind = "),
        ([row[:2] for row in rows(60, 1)], "user,item", "there is no time, so the last row of each user in the file"),
        ([(*row[:2], n) for n, row in enumerate(rows(60, 1))], "user,item,position", "position orders the events"),
    ],
)  # fmt: skip
def test_any_other_log_leaves_one_out_with_the_reason(look, events, header, reason):
    split = split_of(look, events, header)
    assert split.kind == "leave_one_out"
    assert reason in split.reason
    assert split.toml() == ["[split]", f"# {split.reason}", 'kind = "leave_one_out"']
