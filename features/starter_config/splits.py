"""Which split suits a log: by one clock for all users, or by the last events of each."""

from dataclasses import dataclass

import polars as pl
import polars.selectors as cs

from .columns import Clock
from .roles import Log

VAL_SHARE, TEST_SHARE = 0.70, 0.85
MIN_DAYS, MIN_QUERIES = 14, 50
MIN_USER_EVENTS = 3


@dataclass(frozen=True)
class SuggestedSplit:
    """A kind of split, and why."""

    kind: str
    reason: str

    def toml(self) -> list[str]:
        """The section of the configuration."""
        lines = ["[split]", f"# {self.reason}", f'kind = "{self.kind}"']
        cuts = {"val_start": VAL_SHARE, "test_start": TEST_SHARE} if self.kind == "temporal" else {}
        return lines + [f'{name} = "{share:.0%}"' for name, share in cuts.items()]


def suggest_split(log: Log) -> SuggestedSplit:
    """A temporal split where a clock spans enough and enough users return, as a deployment would be judged."""
    clock = log.file.columns[log.time].clock if log.time else None
    if log.time is None:
        return _leave_one_out(log, "there is no time, so the last row of each user in the file is the test")
    if clock is None:
        return _leave_one_out(log, f"{log.time} orders the events, but is not known to be one clock for all")
    if clock.num_days < MIN_DAYS:
        return _leave_one_out(
            log, f"the log spans {clock.num_days:.1f} days; a temporal split wants {MIN_DAYS} or more"
        )
    if len(clock.formats) > 1:
        temporal = f'kind = "temporal", val_start = "{VAL_SHARE:.0%}" and test_start = "{TEST_SHARE:.0%}"'
        return _leave_one_out(
            log, f"the form of the times is undecided; once it is decided, {temporal} test as a deployment works"
        )
    validation, test = _num_queries(log, clock)
    if min(validation, test) < MIN_QUERIES:
        few = f"a temporal split would have {validation:,} users to validate with and {test:,} to test"
        return _leave_one_out(log, f"{few}; {MIN_QUERIES} of each are the least")
    return SuggestedSplit(
        "temporal",
        f"the log spans {clock.num_days:,.0f} days, and {test:,} users are tested on its last {1 - TEST_SHARE:.0%}: "
        "looking forward, as a deployment does",
    )


def _leave_one_out(log: Log, reason: str) -> SuggestedSplit:
    events = log.file.table.frame.select(cs.by_name(log.user_id).alias("user")).drop_nulls()
    enough = events.group_by("user").len().filter(pl.col("len") >= MIN_USER_EVENTS)
    count = enough.select(pl.len()).collect().item()
    return SuggestedSplit("leave_one_out", f"{reason}; {count:,} users have {MIN_USER_EVENTS} events or more")


def _num_queries(log: Log, clock: Clock) -> tuple[int, int]:
    """How many users have events in the two windows of a temporal split, and enough in all."""
    time, user = cs.by_name(log.time or "").as_expr(), cs.by_name(log.user_id).as_expr()
    if clock.formats:
        time = time.str.strptime(pl.Datetime("us"), clock.formats[0], strict=False)
    elif log.file.columns[log.time or ""].is_text and clock.unit:
        time = time.cast(pl.Float64, strict=False)
    events = log.file.table.frame.select(user.alias("user"), time.alias("time")).drop_nulls()
    counted = events.select("user", "time", rank=pl.col("time").rank() / pl.len()).group_by("user").agg(
        num_events=pl.len(),
        validation=pl.col("rank").is_between(VAL_SHARE, TEST_SHARE).any(),
        test=(pl.col("rank") > TEST_SHARE).any(),
    ).filter(pl.col("num_events") >= MIN_USER_EVENTS)  # fmt: skip
    validation, test = counted.select(pl.col("validation").sum(), pl.col("test").sum()).collect().row(0)
    return int(validation), int(test)
