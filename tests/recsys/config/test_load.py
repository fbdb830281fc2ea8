import re
from pathlib import Path

import pytest

from recsys.config import Config, FeatureConfig, load_config, parse_config
from recsys.errors import InputError

LOG = '[data]\nevents = "log.parquet"\n'


def load(folder: Path, text: str, *overrides: str) -> Config:
    path = folder / "my.toml"
    path.write_text(text)
    return load_config(path, overrides)


def refused(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ValueError, match=r"\S") as caught:
        load(folder, text, *overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_two_lines_are_a_config(tmp_path: Path) -> None:
    config = load(tmp_path, LOG)
    assert config.data.events == str(tmp_path / "log.parquet")
    assert config.data.columns == {"user_id": "user_id", "item_id": "item_id", "time": None}
    assert config.split.kind == "leave_one_out"


@pytest.mark.parametrize(
    ("text", "found", "nearest"),
    [
        ("evnts = 1", "data.evnts", "events"),
        ("item = 'x'", "data.item", "items"),
        ("[trainin]\nepochs = 2", "trainin", "training"),
        ("[training]\nepoch = 2", "training.epoch", "epochs"),
        ("[training]\nlearning_rat = 2", "training.learning_rat", "learning_rate"),
        ("[features]\nitme = []", "features.itme", "item"),
        ('[[features.item]]\nname = "a"\nkin = "text"', "features.item.kin", "kind"),
        ('[[features.user]]\nnme = "a"\nkind = "text"', "features.user.nme", "name"),
        ("[training]\ndropout = .5".replace(".5", "0.5"), "training.dropout", "model.dropout"),
    ],
)
def test_a_typo_names_the_nearest_key(tmp_path: Path, text: str, found: str, nearest: str) -> None:
    message = refused(tmp_path, LOG + text)
    assert f"unknown key {found!r}" in message
    assert f"did you mean {nearest!r}" in message


def test_a_key_like_no_other_lists_the_valid_ones(tmp_path: Path) -> None:
    assert "valid keys: name" in refused(tmp_path, LOG + "[registry]\nzzz = 1")


@pytest.mark.parametrize(
    ("text", "key", "found", "expected"),
    [
        ('[training]\nepochs = "20"', "training.epochs", "'20'", "integer"),
        ("[training]\nepochs = true", "training.epochs", "True", "integer"),
        ("[training]\nepochs = 0", "training.epochs", "0", "greater than or equal to 1"),
        ("memory = 1e300", "data.memory", "1e+300", "less than or equal to 1000000"),
        ("shards = 100000", "data.shards", "100000", "less than or equal to 10000"),
        ("[loss]\nin_batch = 1", "loss.in_batch", "1", "boolean"),
        ("[model]\nembedding_dim = 7", "model.embedding_dim", "7", "multiple of 2"),
        ('[split]\nkind = "temporl"', "split.kind", "'temporl'", "'temporal'"),
        ("[split]\nval_start = true", "split.val_start", "True", "70%"),
        ("[split]\nval_start = 10:00:00", "split.val_start", "datetime.time(10, 0)", "70%"),
        ("[registry]\nname = 3", "registry.name", "3", "string"),
        ("[registry]\nname = ''", "registry.name", "''", "at least 1 character"),
        ('[[features.item]]\nname = "a"\nkind = "txt"', "features.item.0.kind", "'txt'", "'text'"),
        ('[features.item]\nname = "a"\nkind = "text"', "features.item", "{'name'", "[[features.item]]"),
        ('[[features.item]]\nname = "a"', "features.item.0.kind", "missing", "kind"),
        ("[features]\nitem = [3]", "features.item.0", "3", "a section"),
        ("split = 3", "data.split", "unknown", "valid keys"),
    ],
)
def test_a_wrong_value_says_key_found_and_expected(
    tmp_path: Path, text: str, key: str, found: str, expected: str
) -> None:
    message = refused(tmp_path, LOG + text)
    assert key in message
    assert found in message
    assert expected in message


def test_what_is_no_section(tmp_path: Path) -> None:
    assert "data is 3; expected a section: write [data]" in refused(tmp_path, "data = 3")
    assert "data is missing" in refused(tmp_path, "")
    assert "data.events is missing" in refused(tmp_path, "[data]")
    assert "data.events is ''" in refused(tmp_path, "[data]\nevents = ''")


def test_a_feature_stands_once(tmp_path: Path) -> None:
    row = '[[features.item]]\nname = "a"\nkind = "text"\n'
    assert load(tmp_path, LOG + row).features.item == (FeatureConfig(name="a", kind="text"),)
    assert "every feature once" in refused(tmp_path, LOG + row + row)


def test_integers_are_numbers_and_dates_become_text(tmp_path: Path) -> None:
    config = load(tmp_path, LOG + "[training]\nlearning_rate = 1\n[split]\nval_start = 2020-01-02\ntest_start = 5.5")
    assert config.training.learning_rate == 1.0
    assert config.split.val_start == "2020-01-02"
    assert config.split.test_start == 5.5
    assert load(tmp_path, LOG, "split.val_start=2020-01-02T10:00:00Z").split.val_start == "2020-01-02T10:00:00+00:00"


def test_set_takes_a_literal_else_a_string(tmp_path: Path) -> None:
    config = load(
        tmp_path, LOG, "training.epochs=5", "data.time=ts", 'data.user_id="7"', "loss.in_batch=true",
        "split.val_start=70%", 'features.item=[{name = "a", kind = "text"}]',
    )  # fmt: skip
    assert config.training.epochs == 5
    assert config.data.time == "ts"
    assert config.data.user_id == "7"
    assert config.loss.in_batch
    assert config.split.val_start == "70%"
    assert config.features.item[0].name == "a"


def test_later_overrides_win(tmp_path: Path) -> None:
    assert load(tmp_path, LOG + "[training]\nepochs = 1", "training.epochs=2", "training.epochs=3").training.epochs == 3


def test_paths_are_relative_to_the_file_or_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    text = LOG + 'items = "i.parquet"\nusers = "/abs/u.parquet"\n[split]\ntest = "t.parquet"'
    config = load(tmp_path, text)
    assert (config.data.events, config.data.items) == (str(tmp_path / "log.parquet"), str(tmp_path / "i.parquet"))
    assert (config.data.users, config.split.test) == ("/abs/u.parquet", str(tmp_path / "t.parquet"))
    config = load(tmp_path, text, *(f"{key}=x/*.parquet" for key in ("data.events", "data.items", "split.test")))
    assert {config.data.events, config.data.items, config.split.test} == {str(here / "x/*.parquet")}
    assert config.data.users == "/abs/u.parquet"


@pytest.mark.parametrize("override", ["x", "epochs=3", "=3", "training=3", "training.=3", "a.b.c=3"])
def test_set_of_another_form(tmp_path: Path, override: str) -> None:
    assert "expected section.key=value" in refused(tmp_path, LOG, override)


def test_set_with_unknown_names_or_values(tmp_path: Path) -> None:
    assert "did you mean 'training'" in refused(tmp_path, LOG, "trainng.epochs=3")
    assert "did you mean 'epochs'" in refused(tmp_path, LOG, "training.epoch=3")
    assert "training.epochs is 'many'" in refused(tmp_path, LOG, "training.epochs=many")
    assert "data is 3 in the config" in refused(tmp_path, "data = 3", "data.events=x")


def test_files_that_are_no_config(tmp_path: Path) -> None:
    assert "not valid TOML" in refused(tmp_path, "[data")
    (tmp_path / "latin.toml").write_bytes(b"x = '\xff'")
    with pytest.raises(ValueError, match="not valid TOML"):
        load_config(tmp_path / "latin.toml")
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ValueError, match=f"no config at {re.escape(str(path))}"):
            load_config(path)


def test_a_config_survives_json_and_is_frozen(tmp_path: Path) -> None:
    config = load(tmp_path, LOG + '[[features.item]]\nname = "a"\nkind = "text"\n[split]\nval_start = 2020-01-01')
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert parse_config(config.model_dump(mode="json"), "here") == config
    with pytest.raises(ValueError, match="frozen"):
        config.training.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", ["ml-1m", "ml-100k", "amazon-beauty", "gowalla"])
def test_the_examples_are_valid(name: str) -> None:
    path = Path(__file__).parents[3] / "examples" / f"{name}.toml"
    assert load_config(path).registry.name == name


def test_a_key_by_its_earlier_name_is_refused_with_the_new_one_and_read_from_stored_configurations(tmp_path):
    message = refused(tmp_path, LOG + '[model]\nhistory = "pooling"')
    assert message.endswith("the key 'model.history' is now called 'model.history_encoder'; rename it")
    stored = load(tmp_path, LOG, "model.history_encoder=pooling").model_dump(mode="json")
    stored["model"]["history"] = stored["model"].pop("history_encoder")
    assert Config.model_validate(stored).model.history_encoder == "pooling"


def test_what_the_index_keeps_in_memory_decides_its_kind():
    tree = {"data": {"events": "e", "user_id": "u", "item_id": "i"}}
    for index, kind in (
        ({}, "auto"),
        ({"kind": "ivf"}, "ivf"),
        ({"memory": "bytes"}, "bytes"),
        ({"memory": "codes", "kind": "auto"}, "codes"),
    ):
        assert parse_config(tree | {"index": index}, "c").index.kind_or_memory == kind
    with pytest.raises(InputError, match=r"index\.memory is 'codes'; expected .auto. beside an index\.kind"):
        parse_config(tree | {"index": {"kind": "hnsw", "memory": "codes"}}, "c")
