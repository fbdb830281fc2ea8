"""Golden answers are kept with their ids' types, and an answer that differs is counted out."""

import polars as pl

from recsys.retriever import GoldenAnswers, Retriever


def test_ids_keep_their_type(tmp_path):
    golden = GoldenAnswers(bundle_id="b", history=[[1, 2], ["1"]], item_ids=[[3], ["x"]], scores=[[0.5], [1.0]])
    golden.write(tmp_path)
    assert GoldenAnswers.read(tmp_path) == golden
    assert GoldenAnswers.read(tmp_path).history == [[1, 2], ["1"]]


def test_only_equal_answers_count_as_repeated(small_run):
    retriever = Retriever.load(small_run.run / "bundle")
    histories = pl.Series([["i00001", "i00002"], ["i00003"]])
    golden = GoldenAnswers.of(retriever, histories)
    assert golden.num_repeated(retriever) == 2
    swapped = golden.model_copy(update={"item_ids": [golden.item_ids[0][::-1], golden.item_ids[1]]})
    assert swapped.num_repeated(retriever) == 1
    assert golden.model_copy(update={"history": [], "item_ids": []}).num_repeated(retriever) == 0
