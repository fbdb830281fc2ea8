"""The command that serves; tests/serving/http/test_server.py starts it for real."""

from recsys.cli import app


def test_nothing_to_serve_is_bad_input(tmp_path, capsys):
    from recsys.actions import invoke

    assert invoke(app, ["serve", str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err
