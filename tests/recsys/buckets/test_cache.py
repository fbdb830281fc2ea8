import threading
from pathlib import Path

import pytest

from recsys.buckets.cache import adding_to_copy, cache_folder, keep_as_copy, upload_folder


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RECSYS_CACHE", raising=False)
    assert cache_folder() == tmp_path / ".cache/recsys/buckets"
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here/buckets"
    (tmp_path / "here").write_text("a file")
    with pytest.raises(ValueError, match=r"cannot write .*here"), adding_to_copy("d"):
        pass


def test_two_processes_do_not_write_for_one_address(monkeypatch, tmp_path):
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path))
    with upload_folder("s3://shop/a") as folder:
        folder.mkdir()
        with upload_folder("s3://shop/b") as other:
            assert other != folder
        with (
            pytest.raises(ValueError, match=r"^s3://shop/a is being written by another process"),
            upload_folder("s3://shop/a"),
        ):
            pass
    with upload_folder("s3://shop/a") as again:
        assert again == folder
        assert folder.is_dir()


def test_whoever_adds_to_a_copy_waits_for_the_others(monkeypatch, tmp_path):
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path))
    seen: list[Path] = []

    def wait() -> None:
        with adding_to_copy("d") as folder:
            seen.append(folder)

    with adding_to_copy("d") as copy:
        other = threading.Thread(target=wait)
        other.start()
        other.join(0.1)
        assert other.is_alive()
        assert not seen
    other.join()
    assert seen == [copy]


def test_what_was_uploaded_becomes_the_copy(monkeypatch, tmp_path):
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path))
    with upload_folder("s3://shop/a") as folder:
        folder.mkdir()
        (folder / "x").write_text("1")
        keep_as_copy(folder, "d")
        assert not folder.exists()
    with adding_to_copy("d") as copy:
        assert (copy / "x").read_text() == "1"


def test_a_cache_that_cannot_be_written_is_named(monkeypatch):
    monkeypatch.setenv("RECSYS_CACHE", "/dev/full")
    with pytest.raises(ValueError, match=r"^cannot write /dev/full/.*RECSYS_CACHE names"), upload_folder("s3://shop/a"):
        pass
