"""A terminal shows live progress and keeps a line per stage; a log file gets a dated line per event."""

import io
import logging
import re

import pytest
from rich.console import Console

from recsys.actions import console
from recsys.actions.console import watching
from recsys.progress import stage, track

DATED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")


def run_two_stages():
    with watching(2):
        with stage("read"):
            list(track(range(3), "files read"))
            logging.getLogger("features.build").info("read 3 files")
        with stage("train"):
            logging.getLogger("training.loop").warning("odd data")
        logging.getLogger("serving.batch_scoring").info("all is written")
        logging.getLogger("another.library").warning("not ours")


def test_a_log_has_a_dated_line_per_event(capsys):
    run_two_stages()
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line != "not ours"]  # pytest's, or the last resort of logging
    assert all(DATED.match(line) for line in lines)
    messages = [DATED.sub("", line) for line in lines]
    assert [re.sub(r"\d+\.\d s", "_", message) for message in messages] == [
        "stage 1 of 2: read",
        "read 3 files",
        "read: done in _",
        "stage 2 of 2: train",
        "warning: odd data",
        "train: done in _",
        "all is written",
    ]


def test_a_slow_loop_tells_a_log_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 0.0)
    with watching(1):
        list(track(range(4), "users scored"))
        list(track(iter("ab"), "files read", None))
    messages = [DATED.sub("", line) for line in capsys.readouterr().err.splitlines()]
    assert re.fullmatch(r"users scored: 3 of 4, \d\.\d s left", messages[2])
    assert messages[-1] == "files read: 2"


def test_nothing_is_logged_after_the_command(capsys):
    run_two_stages()
    capsys.readouterr()
    logging.getLogger("recsys").info("too late")
    assert capsys.readouterr().err == ""


def test_only_the_first_process_reports(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    run_two_stages()
    lines = capsys.readouterr().err.splitlines()
    assert [DATED.sub("", line) for line in lines if "not ours" not in line] == ["warning: odd data"]


@pytest.fixture
def screen(monkeypatch):
    """What a terminal of 110 columns receives."""
    received = io.StringIO()
    terminal = Console(file=received, force_terminal=True, width=110, _environ={"TERM": "xterm"})
    monkeypatch.setattr(console, "Console", lambda **_: terminal)
    return received


def plain_lines(screen):
    """What was drawn, without control codes."""
    return [re.sub(r"\x1b\[[\d;?]*[a-zA-Z]|\r", "", line).strip() for line in screen.getvalue().splitlines()]


def test_a_terminal_keeps_one_line_per_stage_with_its_last_message(screen):
    run_two_stages()
    lasting = plain_lines(screen)
    assert any(re.fullmatch(r"stage 1 of 2: read +0\.0 s +read 3 files", line) for line in lasting)
    assert any(re.fullmatch(r"stage 2 of 2: train +0\.0 s", line) for line in lasting)
    assert "warning: odd data" in lasting
    assert lasting[-1] == "all is written"


def test_a_long_message_does_not_break_the_line_of_a_stage(screen):
    with watching(1), stage("train"):
        logging.getLogger("training.loop").info("a long message " * 20)
    assert any(len(line) > 105 and line.endswith("…") for line in plain_lines(screen))
    assert plain_lines(screen)[-1].startswith("stage 1 of 1: train")


def test_a_terminal_draws_a_bar_for_a_loop(screen):
    with watching(1), stage("score"):
        for _ in track(range(2), "users scored"):
            console.time.sleep(0.3)  # the display is drawn four times a second
    assert "users scored" in screen.getvalue()
    assert "50%" in screen.getvalue()


def test_a_failure_leaves_the_terminal_usable(screen):
    with pytest.raises(KeyError), watching(1), stage("score"):
        raise KeyError
    assert screen.getvalue().rindex("\x1b[?25h") > screen.getvalue().rindex("\x1b[?25l")  # the cursor is shown again
