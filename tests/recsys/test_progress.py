"""Stages are numbered and timed, loops are unchanged, and nothing is shown to library users."""

import logging

import pytest

from recsys.progress import duration, expect_stage, planned, stage, track


def test_stages_of_a_plan_are_numbered_and_timed(caplog):
    caplog.set_level(logging.INFO, "recsys")
    with planned(2) as plan:
        with stage("read"):
            pass
        with stage("train"), stage("a step of it"):
            pass
    assert [message for message in caplog.messages if "done" not in message] == [
        "stage 1 of 2: read",
        "stage 2 of 2: train",
        "a step of it",
    ]
    assert [message.split(" in ")[0] for message in caplog.messages if "done" in message] == [
        "read: done",
        "train: done",
    ]
    assert list(plan.seconds) == ["read", "train"]


def test_a_plan_inside_a_plan_goes_on_counting(caplog):
    caplog.set_level(logging.INFO, "recsys")
    with planned(3) as outer, stage("first"):
        pass
    with planned(3) as outer:
        for number in range(3):
            with planned(1) as inner, stage(f"command {number}"):
                pass
            assert inner is outer
    assert "stage 3 of 3: command 2" in caplog.messages


def test_a_stage_that_is_not_always_there_is_counted(caplog):
    caplog.set_level(logging.INFO, "recsys")
    expect_stage()  # nothing is planned
    with planned(1):
        expect_stage()
        for name in ("read", "upload"):
            with stage(name):
                pass
    assert "stage 2 of 2: upload" in caplog.messages


def test_without_a_plan_a_stage_has_only_its_name(caplog):
    caplog.set_level(logging.INFO, "recsys")
    with stage("read"):
        pass
    assert caplog.messages[0] == "read"


def test_a_failed_stage_is_not_done(caplog):
    caplog.set_level(logging.INFO, "recsys")
    with planned(2) as plan:
        with pytest.raises(KeyError), stage("read"):
            raise KeyError
        with stage("train"):
            pass
    assert "read: done" not in " ".join(caplog.messages)
    assert list(plan.seconds) == ["train"]


def test_a_loop_without_a_display_is_the_plain_loop(capsys):
    assert list(track(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (54.4, "54 s"), (59.7, "1 min 0 s"), (151, "2 min 31 s"), (3900, "1 h 5 min")],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text
