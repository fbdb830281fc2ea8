"""The command that serves; tests/serving/http/test_server.py starts it for real."""

from recsys.cli import app


def test_nothing_to_serve_is_bad_input(tmp_path, capsys):
    from recsys.actions import invoke

    assert invoke(app, ["serve", str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err


def test_nothing_to_serve_in_a_bucket_is_bad_input(s3, capsys):
    from recsys.actions import invoke

    assert invoke(app, ["serve", f"{s3}/nothing"]) == 2
    assert f"nothing finished at {s3}/nothing; expected the address" in capsys.readouterr().err
