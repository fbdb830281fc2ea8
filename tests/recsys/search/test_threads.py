"""Torch's threads, and real forks: they answer, or say in one line why not, and never hang."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from recsys.search.threads import SMALL_BATCH, one_thread_if_few, run_parallel


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_calls_run_at_once_on_one_torch_thread_each():
    together = threading.Barrier(2, timeout=10)  # breaks unless two calls run at once

    def call(number):
        together.wait()
        return number, torch.get_num_threads()

    assert run_parallel([lambda: call(1), lambda: call(2)]) == [(1, 1), (2, 1)]
    assert torch.get_num_threads() == 2
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [2]  # as without workers


def test_other_threads_keep_their_number():
    """Even a thread that torch first sees while workers compute."""
    met = []

    def meet():
        thread = threading.Thread(target=lambda: met.append(torch.get_num_threads()))
        thread.start()
        thread.join()

    run_parallel([meet] * 20)
    assert met == [2] * 20


def test_an_error_in_a_call_is_raised():
    assert run_parallel([]) == []
    with pytest.raises(ZeroDivisionError):
        run_parallel([lambda: 1 / 0, lambda: 2])
    assert torch.get_num_threads() == 2


def test_a_single_thread_runs_all_calls_itself():
    torch.set_num_threads(1)
    assert run_parallel([threading.get_ident] * 2) == [threading.get_ident()] * 2


def test_workers_may_use_workers():
    assert run_parallel([lambda: run_parallel([torch.get_num_threads] * 3)] * 4) == [[1] * 3] * 4


def test_a_few_users_have_one_thread_and_many_have_all():
    assert [one_thread_if_few(count, torch.get_num_threads) for count in (1, SMALL_BATCH - 1, SMALL_BATCH)] == [1, 1, 2]


# each call is made in a fork of its own, which is killed if it hangs
IN_FORKS = """
import faulthandler, os, sys
from recsys.errors import InputError
from recsys.retriever import Retriever

def in_a_fork(call):
    child = os.fork()
    if not child:
        faulthandler.dump_traceback_later(20, exit=True)
        try:
            call()
        except InputError as error:
            assert "\\n" not in str(error)
            os._exit(7 if "load after the fork" in str(error) else 8)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def ask_all(retriever):
    items = retriever.bundle.items["item_id"].to_list()
    yield lambda: retriever.recommend([items[:3]])
    yield lambda: retriever.recommend([items[:3]] * 50, where=[("year", ">", 0)]).to_frame()
    yield lambda: retriever.similar_items(items[:1])
    yield lambda: retriever.search_text(["x"])
    yield lambda: retriever.explain(items[:3], items[4])
    yield lambda: retriever.titles_of(retriever.bundle.items["item_id"])
"""

LOADED = (
    IN_FORKS
    + """
retriever = Retriever.load(sys.argv[1])
answers, ids = retriever.recommend([["x"]]), retriever.bundle.items["item_id"]
asked = retriever._reader.read([["x"]])
lists, rows = asked.history, asked.rows
more = [
    lambda: Retriever.load(sys.argv[1]), lambda: Retriever(retriever.bundle, "id"), lambda: answers.to_frame(),
    lambda: repr(answers), lambda: answers._repr_html_(), lambda: retriever.encode(lists, rows),
    lambda: retriever.rank(lists, k=1), lambda: retriever.allowed(()), lambda: retriever.user_rows(ids),
]
codes = [in_a_fork(call) for call in [*ask_all(retriever), *more]]
retriever.recommend([["x"]])  # the parent still answers
print(codes)
assert codes == [7] * 15
"""
)

LOADED_AFTERWARDS = (
    IN_FORKS
    + """
import faiss, numpy as np, torch
torch.set_num_threads(2)
torch.ones(2000, 2000) @ torch.ones(2000, 2000)  # starts the threads of OpenMP
index = faiss.IndexFlatIP(8)
index.add(np.ones((5000, 8), np.float32))
index.search(np.ones((200, 8), np.float32), 5)

def load_and_ask():
    for call in ask_all(Retriever.load(sys.argv[1])):
        call()

assert in_a_fork(load_and_ask) == 0
"""
)


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("script", [LOADED, LOADED_AFTERWARDS], ids=["loaded_before", "loaded_afterwards"])
def test_a_fork_answers_or_says_why_not(small_run, script, threads):
    environment = os.environ | {"OMP_NUM_THREADS": threads, "POLARS_MAX_THREADS": threads}
    command = [sys.executable, "-W", "ignore", "-c", script, str(small_run.run / "bundle")]
    done = subprocess.run(command, timeout=240, cwd=Path(__file__).parents[3], env=environment)
    assert done.returncode == 0
