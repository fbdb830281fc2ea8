"""benchmarks/gpu without a GPU: all of it at tiny sizes, and what it compares with. Legend as there."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gpu import __main__ as script, gpu_tests, loss, rows, search, timing, training
from benchmarks.gpu.loss import our_sampled_softmax as sampled_softmax
from benchmarks.gpu.rows import Job, Row
from tests.benchmarks.gpu_jobs import leave_a_process_behind, send_and_die, send_and_hang
from training.evaluation import EvaluationRecord


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setattr(rows, "DEVICE", "cpu")
    monkeypatch.setattr(rows, "SMALL", True)


def rows_of(run, *arguments):
    """What a job sends, without a process of its own."""
    sent = []
    run(sent.append, *arguments)
    return sent


def test_without_a_gpu_it_says_so_and_stops(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert script.main(["--out", str(tmp_path / "out"), "--parts", "loss"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"torch {torch.__version__} finds no GPU, expected an NVIDIA GPU and the CUDA build of torch; on a machine "
        "with one, pip install -e '.[cuda,cuda-search,dev]' and run this again\n"
    )
    assert not (tmp_path / "out").exists()


def test_every_part_runs_at_small_sizes(tmp_path, monkeypatch):
    def here(job, seconds):
        assert 0 < seconds <= script.CAPS[job.part]
        return rows_of(job.run, *job.arguments)

    monkeypatch.setattr(script, "execute", here)
    monkeypatch.setattr(gpu_tests, "run_tests", lambda send, *_: send(Row("tests", "", "pytest", {})))
    arguments = ["--out", str(tmp_path), "--device", "cpu", "--small"]
    assert script.main(arguments) == 0
    measured = [Row(**json.loads(line)) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(row.part for row in measured)) == ["machine", *script.CAPS]
    figures = {name for row in measured for name in row.figures}
    assert {"TFLOP/s", "share of bf16 GEMM", "bits in two processes", "users/s", "tokens/s", "ms"} <= figures
    assert {"share of time in kernels", "test NDCG@10", "users with other answers"} <= figures
    missing = {row.figures["not run"] for row in measured if "not run" in row.figures}
    assert all(reason.startswith("needs ") for reason in missing)
    assert (tmp_path / "gpu.md").read_text() == script.table(measured)
    assert script.main([*arguments, "--parts", "search"]) == 0
    more = (tmp_path / "gpu.jsonl").read_text().splitlines()[len(measured) :]
    assert {json.loads(line)["part"] for line in more} == {"machine", "search"}


def test_the_caps_leave_two_minutes_of_fifteen():
    assert sum(script.CAPS.values()) < 13 * 60


def test_a_process_that_dies_leaves_what_it_has_sent():
    first, last = rows.execute(Job("loss", "someone", send_and_die), 60)
    assert first == Row("loss", "first", "someone", {"ms": 1.0})
    assert last == Row("loss", "", "someone", {"failed": "its process died, exit code 3"})


def test_a_process_that_takes_too_long_is_killed_with_its_children(tmp_path, monkeypatch):
    path = tmp_path / "pid"
    monkeypatch.setattr(rows, "monotonic", lambda: 100.0 if path.exists() else 0.0)
    job = Job("loss", "someone", send_and_hang, (path,))
    measured = list(rows.execute(job, 50))
    assert measured[-1].figures == {"not run": "stopped after 50 s, the rest of its time"}
    child = Path("/proc") / path.read_text() / "stat"
    assert not child.exists() or child.read_text().split()[2] == "Z"  # what init has not cleared away yet
    (late,) = rows.execute(job, -1)
    assert late.figures == {"not run": "no time was left"}


def test_a_process_is_done_when_its_job_is():
    started = time.monotonic()
    (row,) = rows.execute(Job("loss", "someone", leave_a_process_behind), 50)
    assert row == Row("loss", "cpu", "someone", {"small": True})
    assert time.monotonic() - started < 40


def missing():
    import no_such_library  # noqa: F401


def too_large():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 16 GiB")


def no_compiler():
    raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable")


def broken():
    raise RuntimeError("an illegal memory access\nwas encountered")


@pytest.mark.parametrize(
    ("measure", "why"),
    [
        (missing, {"not run": "needs no_such_library"}),
        (too_large, {"not run": "does not fit into memory"}),
        (no_compiler, {"not run": "needs a C compiler"}),
        (broken, {"failed": "RuntimeError: an illegal memory access was encountered"}),
    ],
)
def test_a_row_says_why_it_has_no_figures(measure, why):
    assert rows.outcome(measure) == why


def test_without_the_events_of_ml_1m_it_says_which_file_to_name(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "SMALL", False)
    (row,) = rows_of(training.end_to_end, tmp_path)
    assert row.figures == {
        "not run": f"no events.parquet in {tmp_path}; name the folder that holds those of ml-1m by --data"
    }


def without_some_libraries(send):
    for name in ("torchrec", "fbgemm_gpu", "mlflow", "altair", "vl_convert", "cyclopts"):
        sys.modules[name] = None
    training.end_to_end(send, Path("nowhere"))
    training.large_catalogue(send)


def test_training_needs_neither_torchrec_nor_mlflow():
    measured = list(rows.execute(Job("10m", "recsys", without_some_libraries), 600))
    assert [row.work for row in measured if "tokens/s" in row.figures] == [
        "a step", "epoch 1", "epoch 2", "end to end", "a step, 1,000 items x 16"
    ]  # fmt: skip
    assert not any({"not run", "failed"} & set(row.figures) for row in measured)


def test_the_ndcg_is_that_of_publishing(small_run, records):
    published = EvaluationRecord.read(records).headline_of("model").mean
    assert training.evaluate(small_run.run)["test NDCG@10"] == pytest.approx(published, abs=1e-9)


def test_every_gpu_test_has_a_row(tmp_path):
    (tmp_path / "test_these.py").write_text(
        "import pytest\npytestmark = pytest.mark.gpu\n"
        "def test_passes(): pass\n"
        "def test_fails(): assert False\n"
        "@pytest.mark.skip(reason='no (such) thing')\ndef test_skipped(): pass\n"
    )
    measured = rows_of(gpu_tests.run_tests, *gpu_tests.MARKED, str(tmp_path / "test_these.py"))
    results = {row.work.rpartition("::")[2]: row.figures for row in measured}
    assert results == {
        "test_passes": {"result": "passed"},
        "test_fails": {"failed": "failed"},
        "test_skipped": {"not run": "no (such) thing"},
        "all of them": {"failed": "exit code 1"},
    }


@pytest.mark.parametrize(
    ("spans", "share"), [([], 0), ([(0, 1), (1, 2)], 1), ([(0, 4), (1, 2), (6, 8)], 0.75), ([(5, 6), (0, 1)], 1 / 3)]
)
def test_the_busy_share_counts_what_overlaps_once(spans, share):
    assert timing.busy_share(spans) == pytest.approx(share)


def inputs_of(num_tokens=150, num_negatives=90, dim=16):
    *leaves, positive_ids, negative_ids, log_expected = loss.draw(num_tokens, num_negatives, dim)
    positive_ids, negative_ids = positive_ids % 30, negative_ids % 30
    negative_ids[negative_ids == 0] = 1
    assert (positive_ids[:, None] == negative_ids).any()  # the case has accidental hits
    return *leaves, positive_ids, negative_ids, log_expected


def test_exact_gradients_are_those_of_the_loss(monkeypatch):
    monkeypatch.setattr(loss, "CHUNK", 64)
    *leaves, positive_ids, negative_ids, log_expected = inputs_of()
    wide = [tensor.detach().double().requires_grad_() for tensor in leaves]
    mean = sampled_softmax(*wide, positive_ids, negative_ids, log_expected.double()).mean()
    expected = torch.autograd.grad(mean, wide)
    actual = loss.exact_gradients(*leaves, positive_ids, negative_ids, log_expected)
    assert loss.gradient_error(actual, expected) < 1e-12
    doubled = actual[0], actual[1], 2 * actual[2]
    assert loss.gradient_error(doubled, expected) == pytest.approx(1)


def test_exact_gradients_of_a_wholly_masked_token_are_zero():
    *leaves, positive_ids, negative_ids, log_expected = inputs_of()
    actual = loss.exact_gradients(
        *leaves, torch.full_like(positive_ids, 7), torch.full_like(negative_ids, 7), log_expected
    )
    assert all((tensor == 0).all() for tensor in actual)


@pytest.mark.parametrize(
    ("way", "products"), [pair for pair in loss.LOSSES if not pair[0].startswith(("torch", "fused"))]
)
def test_every_way_is_the_same_loss(way, products):
    inputs = inputs_of()
    expected = sampled_softmax(*(tensor.double() if tensor.is_floating_point() else tensor for tensor in inputs))
    loss_of = loss.loss_function(way, products)
    tolerance = 0.1 if products == "bf16" else 1e-4
    torch.testing.assert_close(loss_of(*inputs).double(), expected, rtol=0, atol=tolerance)
    exact = loss.exact_gradients(*inputs)
    error = loss.gradient_error(torch.autograd.grad(loss_of(*inputs).mean(), inputs[:3]), exact)
    assert error < loss.ERROR_LIMITS[products]
    assert products != "bf16" or error > 1e-4


def test_other_bits_in_another_process_fail(monkeypatch):
    inputs = loss.draw(64, 64, 16)
    monkeypatch.setattr(loss, "draw", lambda *sizes: (2 * inputs[0], *inputs[1:]))  # in this process only
    assert loss.compare_bits("eager", "float32", 64, 16) == {"failed": "two processes computed different bits"}


def test_a_search_that_finds_other_items_has_a_lower_recall(monkeypatch):
    assert search.time_search("matmul and torch.topk in chunks", 3_000, 200)["recall"] == 1
    monkeypatch.setitem(search.SEARCHES, "wrong", lambda items: lambda users: np.zeros((len(users), 100), np.int64))
    assert search.time_search("wrong", 3_000, 200)["recall"] < 0.1


def test_answers_that_differ_from_the_cpus_fail(monkeypatch):
    from recsys.search import ItemIndex

    assert search.parity(2_000, 50) == {"users with other answers": 0, "largest difference of a score": 0.0}
    real, answers = ItemIndex.search, []

    def second_is_wrong(self, *arguments, **more):
        answers.append(real(self, *arguments, **more))
        positions, scores = answers[-1]
        return (positions, scores) if len(answers) == 1 else (positions[:, ::-1], scores)

    monkeypatch.setattr(ItemIndex, "search", second_is_wrong)
    assert search.parity(2_000, 50)["failed"] == "the answers differ"


def test_figures_are_shown_with_their_digits():
    assert script.shown({"users/s": 150_000.4, "recall": 0.99998, "epochs": 7, "not run": "a | b"}) == (
        "users/s: 150,000, recall: 1, epochs: 7, not run: a / b"
    )
