"""What each demand asks for, and the error rates of all together."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from recsys.config import GateConfig
from recsys.retriever import Retriever
from recsys.synthetic import paired_scores
from training.evaluation.baselines import MODEL
from training.evaluation.evaluate import per_query, rank_queries
from training.promotion import checks
from training.promotion.checks import ahead, floors
from training.promotion.evidence import Answers, Evidence, RequestTimes, SliceScores

SETTINGS = GateConfig()


def judged(rng, *, size=400, num_slices=8, effect=0.0, settings=SETTINGS):
    """The statistical demands on one simulated pair."""
    ours, theirs = paired_scores(rng, size, gain=effect)
    chosen = [rng.random(size) < 0.3 for _ in range(num_slices)]
    slices = [SliceScores(str(place), ours[mask], theirs[mask]) for place, mask in enumerate(chosen)]
    return [ahead("ahead", ours, theirs, key="required_gain", gain=settings.required_gain), *floors(slices, settings)]


def test_equal_models_are_promoted_at_no_more_than_the_nominal_rate():
    rng, trials = np.random.default_rng(0), 200
    promoted = sum(all(check.passed for check in judged(rng, num_slices=2)) for _ in range(trials))
    assert promoted <= 0.025 * trials + 3 * np.sqrt(0.025 * 0.975 * trials)


def test_many_slices_refuse_equal_models_no_more_often_than_one():
    rng, trials = np.random.default_rng(1), 60
    refused = [
        sum(not all(check.passed for check in judged(rng, num_slices=number)[1:]) for _ in range(trials))
        for number in (1, 12)
    ]
    assert max(refused) <= 0.025 * trials + 3 * np.sqrt(0.025 * 0.975 * trials)


def test_a_clear_gain_is_found():
    rng, trials = np.random.default_rng(2), 40
    num_passed = sum(
        all(check.passed for check in judged(rng, size=2000, num_slices=2, effect=0.05)) for _ in range(trials)
    )
    assert num_passed >= 0.9 * trials


def test_a_margin_lets_equal_models_pass():
    rng, trials = np.random.default_rng(3), 40
    settings = GateConfig(required_gain=-0.3)
    passed = sum(judged(rng, size=2000, num_slices=0, settings=settings)[0].passed for _ in range(trials))
    assert passed >= 0.8 * trials


def test_a_fall_beyond_the_floor_is_refused_and_named():
    rng = np.random.default_rng(4)
    ours, theirs = paired_scores(rng, 300)
    kept = SliceScores("tail", theirs, theirs)
    fallen = SliceScores("cold", 0.5 * theirs, theirs)
    slight = SliceScores("head", 0.95 * theirs, theirs)  # certain, but above the floor
    noisy = SliceScores("few", ours[:40] * 0.8, theirs[:40])
    passed = {check.name.split(",")[0]: check.passed for check in floors([kept, fallen, slight, noisy], SETTINGS)}
    assert passed == {"tail": True, "cold": False, "head": True, "few": True}
    assert floors([SliceScores("tiny", 0 * ours[:29], theirs[:29])], SETTINGS) == []
    line = str(floors([fallen], SETTINGS)[0])
    assert line.startswith(f"FAIL  cold, 300 queries: NDCG@10 {-0.5 * theirs.mean():+.4f} [")
    assert line.endswith(f"mean at least {-0.1 * theirs.mean():+.4f} (gate.slice_margin)")


def test_equal_scores_are_not_ahead_without_a_margin():
    same = np.full(50, 0.3)
    assert not ahead("x", same, same, key="").passed
    assert ahead("x", same, same, key="", gain=-0.01).passed
    assert not ahead("x", same, same, key="", gain=0.01).passed


def test_a_required_gain_is_resampled_with_the_champion():
    """Half as good again on every query, on few and unequal ones: sure to be 49% ahead, whoever is asked."""
    theirs = np.random.default_rng(5).random(30) ** 8
    check = ahead("x", 1.5 * theirs, theirs, key="", gain=0.49)
    assert check.passed
    assert (check.figure, check.limit) == pytest.approx((0.5 * theirs.mean(), 0.49 * theirs.mean()))
    assert check.low < check.figure < check.high
    assert not ahead("x", 1.5 * theirs, theirs, key="", gain=0.51).passed


@pytest.fixture(scope="module")
def answers(small_run):
    """The small model's answers to its test queries, each in 10 ms."""
    retriever = Retriever.load(small_run.run / "bundle")
    evaluated = rank_queries(retriever, small_run.dataset.queries("test"), None)
    ndcg = per_query(evaluated).get_column(MODEL).to_numpy()
    return Answers(retriever, evaluated, ndcg, taking([0.01] * 100))


def taking(cpu, wall=None):
    """Requests that need so many seconds of CPU, and pass so many of the clock."""
    return RequestTimes(np.array(cpu), np.array(cpu if wall is None else wall))


def evidence(challenger, champion=None, stale_days=None, **settings):
    users = challenger.evaluated.user_ids
    zeros = pl.DataFrame([users]).with_columns(popularity=0.0, item_knn=0.0)
    return Evidence(challenger, champion, zeros, None, users, GateConfig(**settings), stale_days)


def test_exact_search_misses_nothing(answers):
    (check,) = checks.index_recall(evidence(answers))
    assert str(check) == "pass  recall of the index: 1.0000, at least 0.9500 (gate.index_recall)"


def test_an_approximate_index_is_compared_with_exact_search(answers):
    """Half of the items are out of its reach."""
    bundle = answers.retriever.bundle
    exact = bundle.index

    class Blind:
        spec, device, vectors = replace(exact.spec, kind="hnsw"), exact.device, exact.vectors

        def search(self, users, k):
            positions, scores = exact.search(users, k)
            return np.where(positions % 2, positions, 0), scores

    blind = replace(answers, retriever=Retriever(replace(bundle, index=Blind()), "id"))
    (check,) = checks.index_recall(evidence(blind))
    assert not check.passed
    assert 0.3 < check.figure < 0.7


def test_the_slowest_requests_decide_about_latency(answers):
    slow = replace(answers, times=taking([0.01] * 90 + [0.2] * 10, [0.01] * 100))
    (check,) = checks.latency(evidence(slow, answers, latency_ms=100))
    assert str(check) == (
        "FAIL  latency in ms of CPU, 95th percentile (champion 10.0): 200.0, at most 100.0 (gate.latency_ms)"
    )
    assert [check.passed for check in checks.latency(evidence(slow, latency_ms=201))] == [True]


def test_a_busy_machine_warns_and_refuses_nothing(answers):
    waited = replace(answers, times=taking([0.01] * 100, [0.3] * 100))
    judged, warning = checks.latency(evidence(waited, latency_ms=100))
    assert judged.passed
    assert str(warning) == (
        "warn  latency in ms by the clock, 95th percentile, on this machine now: 300.0, at most 100.0"
    )
    assert not warning.refuses


def test_a_slow_machine_is_known_by_its_champion(answers):
    """Both are above the limit: as slow as the champion passes, slower does not."""
    serving, same, slower = (replace(answers, times=taking([seconds] * 100)) for seconds in (0.3, 0.33, 0.4))
    for challenger, passed in ((same, True), (slower, False)):
        judged = next(iter(checks.latency(evidence(challenger, serving, latency_ms=100))))
        assert (judged.passed, judged.limit) == (passed, pytest.approx(360))


def test_a_stale_champion_gives_way_to_an_equal_model_and_a_fresh_one_does_not(answers):
    (ordinary,) = checks.beats_champion(evidence(answers, answers))
    assert (ordinary.passed, ordinary.key) == (False, "gate.required_gain")
    (stale,) = checks.beats_champion(evidence(answers, answers, 9.2))
    assert (stale.passed, stale.key) == (True, "gate.stale_margin")
    assert stale.name == "as good as a champion of 9 days"
    worse = replace(answers, ndcg=0.9 * answers.ndcg)
    assert not next(iter(checks.beats_champion(evidence(worse, answers, 9.2)))).passed
    assert next(iter(checks.beats_champion(evidence(worse, answers, 9.2, stale_margin=0.2)))).passed
    (wider,) = checks.beats_champion(evidence(worse, answers, 9.2, required_gain=-0.2))
    assert (wider.passed, wider.key) == (True, "gate.required_gain")


def test_a_version_worse_by_the_margin_replaces_a_stale_champion_at_no_more_than_the_nominal_rate():
    """Worse by exactly the margin in truth: each query of the champion counts, some of the challenger's are lost."""
    rng, trials, margin = np.random.default_rng(6), 200, 0.1
    passed = 0
    for _ in range(trials):
        ours, theirs = paired_scores(rng, 1000)
        ours = ours * (rng.random(1000) >= margin)
        passed += ahead("x", ours, theirs, key="stale_margin", gain=-margin).passed
    assert passed <= 0.025 * trials + 3 * np.sqrt(0.025 * 0.975 * trials)


def test_the_baselines_to_beat_are_those_of_the_settings(answers):
    def names(**settings):
        return [check.name for check in checks.beats_baselines(evidence(answers, **settings))]

    assert names() == ["beats popularity", "beats item-kNN"]
    assert names(must_beat=("popularity",)) == ["beats popularity"]
    assert names(must_beat=()) == []
    with pytest.raises(ValueError, match="must_beat names ease, which was not measured for this version"):
        names(must_beat=("ease",))


def test_a_version_behind_bm25_is_refused_and_one_that_equals_it_is_not(answers):
    asked = evidence(answers, must_beat=("bm25",))
    assert list(checks.beats_baselines(asked)) == []  # not measured: no query is a text alone
    for difference, passed in ((0.0, True), (0.01, False), (-0.01, True)):
        measured = asked.baselines.with_columns(pl.Series("bm25", answers.ndcg + difference))
        (check,) = checks.beats_baselines(replace(asked, baselines=measured))
        assert (check.name, check.passed) == ("not behind BM25", passed)


def test_narrower_recommendations_are_refused(answers):
    same = np.tile(np.arange(1, 101, dtype=np.int32), (len(answers.evaluated.history), 1))
    narrow = replace(answers, evaluated=replace(answers.evaluated, ranked={MODEL: same}))
    assert all(check.passed for check in checks.recommends_broadly(evidence(answers, answers)))
    assert not any(check.passed for check in checks.recommends_broadly(evidence(narrow, answers)))


def test_without_a_champion_only_absolute_checks_are_made(answers):
    names = [check.name for judge in checks.CHECKS for check in judge(evidence(answers))]
    assert names == [
        "beats popularity",
        "beats item-kNN",
        "recall of the index",
        "latency in ms of CPU, 95th percentile",
    ]
