import re
from dataclasses import replace

import pytest

from recsys.config import parse_config, with_overrides
from recsys.metrics import Interval
from training.evaluation import SliceFigures
from training.report import convergence, diagnosis, space
from training.report.diagnosis import diagnose, verdict


def with_evaluation(inputs, **changes):
    return replace(inputs, evaluation=inputs.evaluation.model_copy(update=changes))


def with_differences(inputs, **differences):
    """Baselines with (mean, low, high) of model minus baseline."""
    intervals = {name: Interval(*figures) for name, figures in differences.items()}
    return with_evaluation(inputs, differences=intervals)


def with_config(inputs, **sections):
    tree = inputs.config.model_dump(mode="json")
    for section, keys in sections.items():
        tree[section] |= keys
    return replace(inputs, training=replace(inputs.training, config=parse_config(tree, "test")))


def findings(inputs):
    return {finding.question: finding for finding in diagnose(inputs)}


def one_slice(model, rival, *, name="tail items", num_queries=200):
    methods = {"model": model, "item_knn": rival}
    return SliceFigures(
        name=name,
        num_queries=num_queries,
        methods={method: Interval(mean, mean - 0.01, mean + 0.01) for method, mean in methods.items()},
    )


def test_a_good_model_has_nothing_to_change(good):
    assert {finding.tone for finding in diagnose(good)} == {"good"}
    assert not any(finding.remedy for finding in diagnose(good))
    assert "Nothing stands out. Next: <code>recsys promote books &amp; co</code>." in diagnosis.section(good)
    assert findings(good)["Is it better than item-kNN?"].answer == "Yes: NDCG@10 +0.0100 [+0.0050, +0.0200]."


def test_a_difference_that_may_be_chance_asks_for_more_queries(good):
    open_ = with_differences(good, ease=(0.01, -0.01, 0.03))
    finding = findings(open_)["Is it better than EASE?"]
    assert (finding.tone, finding.answer[:8]) == ("unclear", "Unclear:")
    assert "only more users help" in finding.remedy
    assert "refuses" not in finding.remedy  # the gate does not compare with EASE
    required = findings(with_differences(good, item_knn=(0.01, -0.01, 0.03)))["Is it better than item-kNN?"]
    assert "`recsys promote books & co` refuses this model until it is not" in required.remedy
    temporal = {"kind": "temporal", "val_start": "70%", "test_start": "80%"}
    finding = findings(with_config(open_, split=temporal))["Is it better than EASE?"]
    assert "an earlier `split.test_start`" in finding.remedy
    finding = findings(with_config(open_, split={"kind": "users"}))["Is it better than EASE?"]
    assert "a larger `split.test_share`" in finding.remedy


def test_baselines_that_are_ahead_are_named_once_with_what_the_gate_does(good):
    behind = with_differences(good, item_knn=(-0.02, -0.03, -0.01), popularity=(-0.01, -0.02, -0.005))
    assert [finding.tone for finding in diagnose(behind)[1:3]] == ["bad", "bad"]
    page = diagnosis.section(behind)
    assert page.count("item-kNN and popularity are ahead.") == 1
    assert "<code>recsys promote books &amp; co</code> refuses this model. To overtake" in page
    assert "serve" not in page.lower()


def test_the_gate_does_not_refuse_for_ease(good):
    remedy = findings(with_differences(good, ease=(-0.02, -0.03, -0.01)))["Is it better than EASE?"].remedy
    assert remedy.startswith("EASE is ahead. The promotion gate does not compare with EASE")
    assert "refuses" not in remedy


def test_what_would_overtake_a_baseline_depends_on_what_is_missing(good, curve):
    behind = with_differences(good, item_knn=(-0.02, -0.03, -0.01))
    remedy = findings(behind)["Is it better than item-kNN?"].remedy
    assert "more events" in remedy
    assert "training.epochs" not in remedy
    assert "[[features.item]]" not in remedy
    short = replace(behind, progress=curve([0.1, 0.2]))
    assert "To overtake: train longer;" in findings(short)["Is it better than item-kNN?"].remedy
    bare = with_config(behind, data={"time": None, "items": None}, features={"item": []})
    remedy = findings(bare)["Is it better than item-kNN?"].remedy
    assert "`data.items`" in remedy
    assert "`data.time`" in remedy


def test_slices_that_are_behind(good):
    question = "Is it ahead everywhere?"

    def ahead_everywhere(*slices):
        narrowed = with_differences(good, item_knn=(0.01, 0.005, 0.02))
        return findings(with_evaluation(narrowed, slices=slices))[question]

    behind = ahead_everywhere(one_slice(0.1, 0.15), one_slice(0.2, 0.1, name="head"))
    assert behind.tone == "bad"
    assert behind.answer == "Behind on tail items: 0.1000 against 0.1500 of item-kNN."
    assert "[[features.item]]" in behind.remedy
    two = ahead_everywhere(one_slice(0.1, 0.15), one_slice(0.1, 0.2, name="head items"))
    assert two.answer == "Behind on 2 slices, most on head items: 0.1000 against 0.2000 of item-kNN."
    lower = ahead_everywhere(one_slice(0.1, 0.105))  # the intervals overlap
    assert (lower.tone, lower.remedy) == ("unclear", "")
    assert lower.answer.startswith("Nowhere clearly behind. Lower on tail items: 0.1000 against 0.1050")
    few = ahead_everywhere(one_slice(0.1, 0.15, num_queries=99))
    assert (few.tone, few.answer) == ("unclear", "Cannot be told: no slice has 100 queries.")
    both = ahead_everywhere(one_slice(0.1, 0.15, num_queries=99), one_slice(0.2, 0.1, name="head"))
    assert both.answer == "Yes, on every slice of 100 queries or more."
    level = ahead_everywhere(one_slice(0.1, 0.1))
    assert (level.tone, level.answer) == ("unclear", "Nowhere behind, but level on tail items, with item-kNN.")
    assert "[[features.user]]" in ahead_everywhere(one_slice(0.1, 0.15, name="new users")).remedy


def test_an_unfinished_training_is_finished_before_anything_else_is_changed(good, curve):
    poor = with_differences(with_space(good, 0.1, hubness=9.0), item_knn=(0.01, 0.005, 0.02))
    poor = replace(poor, progress=curve([0.1, 0.2]))
    page = diagnosis.section(with_evaluation(poor, slices=(one_slice(0.1, 0.15),)))
    assert re.findall("<li>(.*?)</li>", page) == ["Train longer: <code>--set training.epochs=10</code>."]
    assert "A few items crowd the lists" in page


def test_metadata_that_adds_little(good):
    question = "Does the items' metadata help?"
    without = findings(with_evaluation(good, item_parts=None))[question]
    assert (without.tone, without.answer.split(",")[0]) == ("unclear", "The model reads none")
    parts = good.evaluation.item_parts.model_copy(update={"both": 0.1, "ids": 0.1})
    hardly = findings(with_evaluation(good, item_parts=parts))[question]
    assert (hardly.tone, hardly.answer[:6]) == ("unclear", "Hardly")


def with_space(inputs, coverage, **geometry):
    exposure = inputs.evaluation.exposure
    shown = exposure["model"].model_copy(update={"coverage_at_10": coverage})
    return with_evaluation(
        inputs, geometry=replace(inputs.evaluation.geometry, **geometry), exposure=exposure | {"model": shown}
    )


@pytest.mark.parametrize(
    ("geometry", "coverage", "tone", "reading"),
    [
        ({"effective_rank": 2.0}, 0.9, "bad", "in use: too few"),
        ({"effective_rank": 2.0}, 0.9, "bad", "The space has collapsed:</b> the items use few of its dimensions."),
        ({"item_uniformity": -0.1}, 0.9, "bad", "The space has collapsed:</b> all items point nearly the same way."),
        ({"user_uniformity": -0.1}, 0.9, "bad", '<td class="word">collapsed: all point nearly the same way'),
        ({"hubness": 3.1}, 0.2, "unclear", "a few items crowd the lists"),
        ({"hubness": 3.1}, 0.4, "good", "some items are in many lists, but 40% of all items are in some list"),
        ({"hubness": 2.9}, 0.2, "good", "no item crowds the lists"),
    ],
)
def test_the_diagnosis_and_the_geometry_read_the_space_alike(good, geometry, coverage, tone, reading):
    changed = with_space(good, coverage, **geometry)
    assert findings(changed)["Is the space healthy?"].tone == tone
    figures = changed.evaluation.geometry
    assert reading in space.readings(figures, changed.num_dimensions, coverage)


CURVES = {
    "1 epoch": [0.1],
    "2 epochs, better by half": [0.1, 0.15],
    "2 epochs, worse": [0.1, 0.05],
    "40 epochs, rising": [0.01 * epoch for epoch in range(1, 41)],
    "40 epochs, flat": [0.1, 0.2, *[0.3] * 38],
    "40 epochs, falling": [0.1, 0.3, *[0.2] * 38],
}
CLAIMS = {  # words that only one state may say
    "still improving": ("still improving",),
    "converged": ("converged",),
    "over-fitted": ("over-fitted", "model.dropout"),
    "too few epochs": ("too early to tell",),
}


@pytest.mark.parametrize("scores", CURVES.values(), ids=CURVES)
def test_no_two_sentences_about_the_training_contradict(good, curve, scores):
    """Diagnosis and training section say what one judgement says, and nothing that belongs to another."""
    inputs = replace(with_differences(good, item_knn=(-0.02, -0.03, -0.01)), progress=curve(scores))
    judged = convergence.judge(inputs.progress, inputs.recipe, 20)
    pages = [diagnosis.section(inputs), convergence.section(inputs)]
    for page in pages:
        assert judged.sentence in page
        for state, claims in CLAIMS.items():
            for claim in claims:
                assert (claim in page) <= (state == judged.state), claim
    more_epochs = judged.state in ("still improving", "too few epochs")
    assert [page.count("training.epochs") for page in pages] == [more_epochs, more_epochs]
    assert ("Nothing stands out" in pages[0]) is False  # a baseline is ahead


@pytest.mark.parametrize("scores", CURVES.values(), ids=CURVES)
def test_every_setting_that_is_advised_exists(good, curve, scores):
    poor = with_space(with_differences(good, item_knn=(-0.02, -0.03, -0.01)), 0.1, hubness=9.0)
    unfinished = diagnose(replace(poor, progress=curve(scores)))
    parts = good.evaluation.item_parts.model_copy(update={"both": 0.1, "ids": 0.1})
    finished = [
        *diagnose(with_evaluation(poor, item_parts=parts)),
        *diagnose(with_space(good, 0.1, effective_rank=1.0)),
    ]
    remedies = " ".join(finding.remedy for finding in [*unfinished, *finished])
    overrides = re.findall(r"`--set ([^`]+)`", remedies)
    assert {"features.item=[]", "loss.num_negatives=4096", "loss.popularity_exponent=0.5"} <= {*overrides}
    for override in overrides:
        with_overrides(good.config, (override,), "advice")


def test_a_model_above_every_baseline_is_good(good):
    changed = with_differences(good, item_knn=(0.05, 0.04, 0.06), popularity=(0.1, 0.09, 0.11))
    judged = verdict(with_baseline_means(changed, item_knn=0.125, popularity=0.075))
    assert (judged.tone, judged.headline) == ("good", "Good")
    assert judged.sentence == (
        "Beats item-kNN, the strongest baseline, by 40% in NDCG@10 on 6,040 held-out queries "
        "(95% interval of the difference +0.0400 to +0.0600, above zero)."
    )


def with_baseline_means(inputs, **means):
    methods = {name: {"ndcg@10": Interval(mean, mean, mean)} for name, mean in means.items()}
    return inputs.evaluation.model_copy(update={"methods": methods, "num_queries": 6040})


def test_a_model_below_one_baseline_is_not_good(good):
    changed = with_differences(good, item_knn=(-0.05, -0.06, -0.04), popularity=(0.1, 0.09, 0.11))
    judged = verdict(with_baseline_means(changed, item_knn=0.1, popularity=0.05))
    assert judged.tone == "bad"
    assert judged.sentence.startswith("Behind item-kNN, the strongest baseline, by 50% in NDCG@10")
    assert "−0.0600 to −0.0400, below zero" in judged.sentence


def test_an_interval_with_zero_is_undecided_whichever_baseline_has_it(good):
    changed = with_differences(good, item_knn=(0.01, 0.005, 0.02), popularity=(0.02, -0.01, 0.05))
    judged = verdict(with_baseline_means(changed, item_knn=0.1, popularity=0.0))
    assert judged.tone == "unclear"
    assert judged.sentence.startswith("Ahead of popularity by 0.0200 in NDCG@10")  # no share of a baseline at zero
    level = verdict(with_baseline_means(with_differences(good, item_knn=(0.0, 0.0, 0.0)), item_knn=0.0))
    assert level.sentence.startswith("Level with item-kNN in NDCG@10 on 6,040 held-out queries (95% interval")
    behind = with_differences(good, item_knn=(-0.01, -0.02, 0.005))
    assert verdict(with_baseline_means(behind, item_knn=0.1)).sentence.startswith("Behind item-kNN by 10%")
