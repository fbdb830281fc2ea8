"""From files as a shop exports them to a training, as a new user types it."""

import shlex

import polars as pl
import pytest

from recsys.actions import build, init, train
from recsys.config import load_config
from tests.shop import write_shop


def test_what_is_suggested_runs_as_it_is(tmp_path):
    orders, products = write_shop(tmp_path / "shop", num_users=120, num_items=40)
    outcome = init([orders, products], tmp_path / "shop.toml", None, None, None)
    assert (outcome.exit_code, outcome.undecided) == (0, [])
    assert outcome.lines()[-1] == f"configuration: {tmp_path / 'shop.toml'}"
    assert shlex.split(outcome.next)[-5:] == ["run", "--config", str(tmp_path / "shop.toml"), "--out", "run"]
    small = ["training.epochs=1", "model.embedding_dim=8", "loss.num_negatives=16", "model.num_members=1"]
    built = build(tmp_path / "shop.toml", tmp_path / "dataset", small, 1)
    assert (built.statistics["users"], built.statistics["items"]) == (120, 40)
    assert train(tmp_path / "shop.toml", tmp_path / "dataset", tmp_path / "run", small, False).epochs == 1


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "config.toml").write_text("mine")
    with pytest.raises(ValueError, match=r"config\.toml exists; choose another --out or remove it"):
        init([tmp_path / "log.csv"], tmp_path / "config.toml", None, None, None)
    assert (tmp_path / "config.toml").read_text() == "mine"


def test_what_is_undecided_is_written_said_and_no_success(tmp_path):
    rows = "".join(f"u{n % 20},i{n % 7},{n % 12 + 1}/{n % 11 + 1}/2020\n" for n in range(200))
    (tmp_path / "log.csv").write_text(f"user,item,when\n{rows}")
    outcome = init([tmp_path / "log.csv"], tmp_path / "c.toml", "user", "item", "when")
    assert (outcome.exit_code, outcome.next) == (2, None)
    assert any(line.startswith("undecided: when can be read as %d/%m/%Y or as %m/%d/%Y") for line in outcome.lines())
    assert load_config(tmp_path / "c.toml").data.time_format is None


def test_documents_become_passages_beside_the_config(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("# A\none\n# B\ntwo\n")
    outcome = init([tmp_path / "notes"], tmp_path / "notes.toml", None, None, None, chunk=True)
    assert outcome.lines()[0] == "documents: 1 files, cut into 2 passages"
    assert pl.read_parquet(tmp_path / "notes-items.parquet")["item_id"].to_list() == [
        "notes/a.md:2-2", "notes/a.md:4-4"
    ]  # fmt: skip
    assert load_config(tmp_path / "notes.toml").data.items == str(tmp_path / "notes-training-items.parquet")
    with pytest.raises(ValueError, match="--chunk reads documents, which have no columns"):
        init([tmp_path / "notes"], tmp_path / "other.toml", "user", None, None, chunk=True)
