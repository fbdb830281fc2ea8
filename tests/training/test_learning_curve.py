import json

from training.learning_curve import EpochResult, Progress


def progress_of(*scores):
    progress = Progress(steps=40)
    for score in scores:
        progress = progress.after(loss=1.0, score=score, seconds=2.0, tokens=3)
    return progress


def test_an_epoch_is_the_best_only_if_none_before_scored_as_much():
    progress = progress_of(0.2, 0.5, 0.5, float("nan"), 0.4)
    assert [result.best for result in progress.epochs] == [True, True, False, False, False]
    assert (progress.epoch, progress.best_epoch, progress.best_score) == (5, 2, 0.5)


def test_without_validation_the_latest_epoch_is_the_best():
    progress = progress_of(None, None)
    assert (progress.best_epoch, progress.best_score) == (2, 0.0)


def test_before_the_first_epoch_there_is_no_best_one():
    assert (Progress().epoch, Progress().best_epoch, Progress().best_score) == (0, 0, -1.0)


def test_a_score_of_zero_is_better_than_none():
    assert progress_of(0.0).best_epoch == 1


def test_json_keeps_every_bit():
    progress = progress_of(0.1 + 0.2, 1 / 3)
    assert Progress.from_json(progress.to_json()) == progress


def test_the_progress_of_an_older_version_is_read():
    stored = {
        "epoch": 2, "steps": 8, "best_score": 0.25, "best_epoch": 1,
        "history": [
            {"epoch": 1, "loss": 3.0, "seconds": 1.5, "tokens": 100, "score": 0.25},
            {"epoch": 2, "loss": 2.0, "seconds": 1.0, "tokens": 100, "score": 0.125},
        ],
    }  # fmt: skip
    first, second = EpochResult(1, 3.0, 0.25, 1.5, 100, True), EpochResult(2, 2.0, 0.125, 1.0, 100, False)
    assert Progress.from_json(json.dumps(stored)) == Progress(8, (first, second))
    refit = {"epoch": 1, "steps": 4, "history": [{"epoch": 1, "loss": 3.0, "seconds": 1.5, "tokens": 100}]}
    assert Progress.from_json(json.dumps(refit)).epochs == (EpochResult(1, 3.0, None, 1.5, 100, True),)
