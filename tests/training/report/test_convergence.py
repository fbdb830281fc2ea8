from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from recsys.config import with_overrides
from training.report.convergence import duration, judge, section

RISING = [0.01 * epoch for epoch in range(1, 41)]
FLAT = [*np.linspace(0.1, 0.3, 12), *[0.3] * 28]
NOISY = [*np.linspace(0.1, 0.3, 12), *[0.294, 0.303, 0.298, 0.289] * 7]
RISEN = [*RISING[:36], *[0.355] * 4]  # in the last fifth, but no more since
FALLING = [*np.linspace(0.1, 0.3, 10), *np.linspace(0.29, 0.2, 30)]


def judged(curve, scores, *, dropout=0.3, patience=20):
    recipe = SimpleNamespace(model=SimpleNamespace(dropout=dropout), learning_rate=0.003)
    return judge(curve(scores), recipe, patience)


@pytest.mark.parametrize(
    ("scores", "state"),
    [
        ([0.1], "too few epochs"),
        ([0.1, 0.15], "still improving"),
        ([0.1, 0.1001], "too few epochs"),
        ([0.1, 0.05], "too few epochs"),  # a fall after one epoch is no over-fitting
        ([0.1, 0.3, 0.2, 0.15], "too few epochs"),
        (RISING, "still improving"),
        (FLAT, "converged"),
        (NOISY, "converged"),
        (FALLING, "over-fitted"),
        ([*RISING[:-1], 0.35], "still improving"),  # the best was the epoch before the last
        ([*FLAT, 0.28], "converged"),  # one bad epoch is noise
        ([0.1, 0.2, 0.25, 0.3, 0.27, 0.2], "too few epochs"),  # it fell too late to say whether it will recover
        ([0.0] * 40, "too few epochs"),
        (RISEN, "converged"),
    ],
)  # fmt: skip
def test_a_learning_curve_has_one_state(curve, scores, state):
    assert judged(curve, scores).state == state


def test_the_sentence_holds_the_figures(curve):
    assert judged(curve, RISING).sentence == (
        "It was still improving when it ended: the last 8 epochs raised validation NDCG@10 from 0.3200 to 0.4000."
    )
    assert judged(curve, FALLING).sentence == (
        "It over-fitted: validation NDCG@10 fell from 0.3000 in epoch 10 to 0.2000 in epoch 40."
    )
    assert judged(curve, [0.1]).sentence == (
        "After 1 epoch and a validation NDCG@10 of 0.1000 it is too early to tell."
    )
    assert "the last epoch raised" in judged(curve, [0.1, 0.15]).sentence
    assert judged(curve, FLAT).sentence.endswith("was best in epoch 12 of 40, with 0.3000.")
    assert judged(curve, RISEN).sentence.endswith("epoch 36 of 40, with 0.3600; the last 4 epochs added nothing.")


def test_more_epochs_are_advised_unless_patience_ended_the_training(curve):
    assert "`--set training.epochs=80`" in judged(curve, RISING).advice
    assert "`--set training.epochs=10`" in judged(curve, [0.1]).advice
    assert "`--set training.patience=20`" in judged(curve, [0.1, 0.3, 0.2], patience=1).advice


def test_an_over_fitted_model_is_held_back_by_what_is_left(curve):
    assert "`--set model.dropout=0.5`" in judged(curve, FALLING).advice
    assert "`--set training.learning_rate=0.0015`" in judged(curve, FALLING, dropout=0.8).advice


def test_a_converged_model_needs_no_advice(curve):
    assert judged(curve, FLAT).advice == ""


@pytest.mark.parametrize("scores", [RISING, FALLING, [0.1], [0.1, 0.05]])
def test_every_advice_names_a_key_that_exists(curve, inputs, scores):
    override = judged(curve, scores).advice.split("--set ")[1].split("`")[0]
    assert with_overrides(inputs.config, (override,), "advice") != inputs.config


def test_a_refit_is_explained(inputs):
    recipe = inputs.recipe
    plain = section(with_recipe(inputs, refit=False))
    assert "Epoch 1 (green) is what serves." in plain
    assert "second training" not in plain
    refit = section(with_recipe(inputs, refit=True))
    assert "second training of 1 epoch, on training and validation events together" in refit
    assert "is what serves" not in refit
    assert recipe == inputs.recipe


def with_recipe(inputs, **changes):
    training = replace(inputs.training, recipe=replace(inputs.recipe, **changes))
    return replace(inputs, training=training)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0.4 seconds"), (95, "95 seconds"), (130, "2 minutes"), (5400, "90 minutes"), (9000, "2.5 hours")],
)
def test_a_duration_has_a_fitting_unit(seconds, words):
    assert duration(seconds) == words
