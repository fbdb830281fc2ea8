import json
import sys

import pytest

from recsys.actions import invoke
from recsys.actions.engine import Engine
from recsys.cli import app
from recsys.errors import InputError
from tests.random_logs import contents


def test_an_engine_is_this_machine_unless_ray_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Engine().is_ray
    assert Engine("ray", "head:6379").is_ray
    with pytest.raises(InputError, match="--address names a Ray cluster, but the engine is local; add --engine ray"):
        assert not Engine(address="head:6379").is_ray
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"--engine ray cannot be used without ray .*pip install 'recsys\[ray\]'"):
        assert Engine("ray").is_ray


def run(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, object]:
    """What a command prints as JSON, without what differs between two calls."""
    assert invoke(app, [*map(str, words), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    return {
        name: value for name, value in printed.items() if name not in ("seconds", "stages", "out", "dataset", "next")
    }


def test_commands_do_the_same_on_a_cluster(small_run, ray_address, tmp_path, capsys) -> None:
    bundle, ray = small_run.run / "bundle", ("--engine", "ray")
    small_run.dataset.queries("test").write_parquet(tmp_path / "queries.parquet")
    commands = {
        "build": ("--config", tmp_path / "my.toml", "--out"),
        "score": ("--bundle", bundle, "--queries", tmp_path / "queries.parquet", "--out"),
        "evaluate": ("--bundle", bundle, "--queries", tmp_path / "queries.parquet"),
    }
    events = small_run.folder / "events.parquet"
    (tmp_path / "my.toml").write_text(f'[data]\nevents = "{events}"\ntime = "timestamp"\nshards = 2\n')
    for name, words in commands.items():
        outs = ([tmp_path / f"{name}-local"], [tmp_path / f"{name}-ray"]) if words[-1] == "--out" else ([], [])
        local = run(capsys, name, *words, *outs[0])
        assert run(capsys, name, *words, *outs[1], *ray) == local
    assert contents(tmp_path / "build-ray") == contents(tmp_path / "build-local")
    assert contents(tmp_path / "score-ray") == contents(tmp_path / "score-local")


def test_bad_input_on_a_cluster_is_one_line(small_run, ray_address, tmp_path, capsys) -> None:
    content = bytearray((small_run.folder / "events.parquet").read_bytes())
    content[200:600] = bytes(400)
    (tmp_path / "events.parquet").write_bytes(content)
    (tmp_path / "my.toml").write_text('[data]\nevents = "events.parquet"\ntime = "timestamp"\nshards = 2\n')
    words = ["build", "--config", str(tmp_path / "my.toml"), "--out", str(tmp_path / "dataset"), "--engine", "ray"]
    assert invoke(app, words) == 2
    assert "Traceback" not in (told := capsys.readouterr().err)
    assert told.splitlines()[-1].startswith("error: ")
    assert invoke(app, [*words, "--workers", "2"]) == 2
    assert "--workers is 2 with --engine ray" in capsys.readouterr().err
    assert (
        invoke(app, ["score", "--bundle", str(tmp_path), "--out", "recs", "--engine", "ray", "--device", "cuda"]) == 2
    )
    assert "--device is cuda with --engine ray" in capsys.readouterr().err
