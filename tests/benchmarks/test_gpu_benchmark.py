"""benchmarks/gpu without a GPU: that it says so, and that what it compares with is right. Legend as there."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks.gpu import loss, rows, search, training
from benchmarks.gpu.__main__ import table
from benchmarks.gpu.loss import our_sampled_softmax as sampled_softmax


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setattr(rows, "DEVICE", "cpu")


def test_without_a_gpu_it_says_so_and_stops(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(tmp_path / "out"), "--rows", "loss"]
    done = subprocess.run(
        command, cwd=rows.ROOT, env={"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"torch {torch.__version__} finds no GPU, expected an NVIDIA GPU and the CUDA build of torch; on a machine "
        "with one, pip install -e '.[cuda,dev]' and run this again\n"
    )
    assert not (tmp_path / "out").exists()


def missing():
    import no_such_library  # noqa: F401


def too_large():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 16 GiB")


def no_compiler():
    raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable")


def broken():
    raise RuntimeError("an illegal memory access\nwas encountered")


def killed():
    import os

    os._exit(1)


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (missing, "not run: needs no_such_library"),
        (too_large, "does not fit"),
        (no_compiler, "not run: needs a C compiler"),
        (broken, "failed: RuntimeError: an illegal memory access was encountered"),
        (table, "failed: TypeError"),
    ],
)
def test_a_row_says_why_it_has_no_figures(measure, said):
    assert rows.outcome(measure).startswith(said)


def test_a_process_that_dies_fails_its_own_rows_only():
    assert rows.apart(killed, (), ()) == ["failed: its process died"] * 2
    assert rows.apart(rows.outcome, (missing,), (len, "abc")) == ["not run: needs no_such_library", 3]


def test_what_a_row_needs():
    rows.need("numpy", "torch")
    assert rows.outcome(rows.need, "numpy", "no_such_library") == "not run: needs no_such_library"
    assert rows.outcome(training.train, rows.ROOT, rows.ROOT / "nowhere").startswith(
        "not run: needs the events of ml-1m at"
    )


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


def test_the_search_by_topk_finds_all_and_a_wrong_one_does_not(monkeypatch):
    assert search.time_search("matmul + torch.topk, chunked", 3_000, 200).endswith(" users/s, recall 1.00000")
    monkeypatch.setitem(
        search.SEARCHES, "wrong", lambda items: lambda users: np.zeros((len(users), search.K), np.int64)
    )
    assert not search.time_search("wrong", 3_000, 200).endswith("recall 1.00000")


def test_parity_compares_positions_and_scores():
    assert search.parity(2_000, 50) == "positions differ for 0 of 50 users, scores by at most 0.0e+00"


def test_search_and_parity_ask_for_a_faiss_with_a_gpu(monkeypatch):
    if pytest.importorskip("recsys.search.faiss_index").num_gpus():
        pytest.skip("this faiss sees a GPU")
    monkeypatch.setattr(rows, "DEVICE", "cuda")
    for measure in (search.by_faiss, search.by_item_index):
        assert rows.outcome(measure, None).startswith("not run: needs a faiss that sees the GPU")
    assert rows.outcome(search.parity, 100, 10).startswith("not run: needs a faiss that sees the GPU")


def test_the_table():
    measured = [
        rows.Row("loss", "B = N = 8,192, d = 64", "eager", "1.00 ms"),
        rows.Row("search", "top", "ours", "a | b"),
    ]
    lines = table("a machine", measured).splitlines()
    assert lines[2] == "`python -m benchmarks.gpu` on a machine."
    assert lines[4:8] == [
        "| check | work | contestant | result |",
        "|---|---|---|---|",
        "| loss | B = N = 8,192, d = 64 | eager | 1.00 ms |",
        "| search | top | ours | a / b |",
    ]


def test_the_figures_of_a_training(small_run, records, tmp_path):
    (tmp_path / "records").symlink_to(records)
    (tmp_path / "model.safetensors").symlink_to(small_run.run / "model.safetensors")
    words = training.training_figures(tmp_path, 1_234.5)
    assert words.startswith("1,234 s in all, ")
    assert " tokens/s over 3 epochs, NDCG@10 validation 0." in words
