from pathlib import Path

import pytest

from recsys.paths import local_path


def test_the_home_folder_unless_something_has_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert local_path("~/x") == tmp_path / "home" / "x"
    assert local_path("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / "x").touch()
    assert local_path("~/x") == Path("~/x")
    assert local_path("~/y", tmp_path) == tmp_path / "home" / "y"
    assert local_path("~/x", tmp_path) == tmp_path / "~" / "x"


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("file:///a/b c.csv", "/a/b c.csv"), ("file:///a/b%20c.csv", "/a/b c.csv"), ("file://localhost/a", "/a"),
        ("FILE:///a", "/a"), ("file:///a/what?.csv", "/a/what?.csv"), ("file:///a/b#1", "/a/b#1"),
        (Path("file:///a"), "/a"), ("/a%20b/c", "/a%20b/c"), ("a:b/c", "a:b/c"),
    ],
)  # fmt: skip
def test_addresses_of_files_and_odd_paths(address: str | Path, path: str) -> None:
    assert local_path(address) == Path(path)


@pytest.mark.parametrize(
    "address",
    ["s3://bucket/x", "gs://b/x", "az://b", "abfss://c@a/x", "https://host/x", "HTTP://host/x", "hdfs://h/x",
     "dbfs:/mnt/x", "memory://x", "file://host/x"],
)  # fmt: skip
def test_other_machines_are_refused_also_as_a_path(address: str) -> None:
    with pytest.raises(ValueError, match=r"expected (one|a local path)"):
        local_path(address)
    if not address.startswith(("memory", "file")):
        with pytest.raises(ValueError, match=r"is no local path; expected one(: tables|, or an address in a bucket)"):
            local_path(Path(address))  # which has one slash less


def test_no_path_at_all() -> None:
    with pytest.raises(ValueError, match="is no path"):
        local_path("a\0b")
