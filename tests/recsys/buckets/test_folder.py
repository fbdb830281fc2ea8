"""A folder in a bucket is whole or absent, whoever is killed, and what is read of it is what was written."""

import pytest

from recsys.buckets import BucketFolder, FolderManifest, fetched, folder as module, store

CONTENT = {"a": b"1", "deep/b.txt": b"22", "deep/c": b"", "same": b"1"}


@pytest.fixture
def local(tmp_path):
    """A folder on this machine."""
    for name, content in CONTENT.items():
        path = tmp_path / "local" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "local"


@pytest.fixture
def written(monkeypatch):
    """The addresses that are written from now on; one after the other."""
    addresses = []
    monkeypatch.setattr(store, "PARALLEL_FILES", 1)
    monkeypatch.setattr(
        module, "write", lambda address, content: (addresses.append(address), store.write(address, content))
    )
    return addresses


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names_in(address):
    return {one.url.removeprefix(f"{address}/") for one in store.objects_below(address)}


def test_a_folder_goes_in_and_out(s3, local, monkeypatch):
    address = f"{s3}/x/y"
    assert BucketFolder(address).manifest() is None
    manifest = BucketFolder(f"{address}/").finish(local)
    assert names_in(address) == {"manifest.json"} | {
        f"parts/{seal.sha256}-{name.rpartition('/')[2]}" for name, seal in manifest.files.items()
    }
    assert content_of(fetched(address)) == CONTENT
    assert fetched(f"{address}/deep/b.txt").read_bytes() == b"22"
    assert set(content_of(fetched(f"{address}/deep"))) == {"b.txt", "c"}
    monkeypatch.setattr(module, "download", None)
    assert content_of(fetched(address)) == CONTENT  # nothing is downloaded twice
    with pytest.raises(ValueError, match=r"s3://.*/x/y has no nix; expected one of a, deep/b.txt"):
        fetched(f"{address}/nix")
    with pytest.raises(ValueError, match=r"nothing finished at s3://.*/x; expected the address that `recsys build"):
        fetched(f"{s3}/x")


def test_only_what_is_asked_for_is_downloaded(s3, local):
    BucketFolder(f"{s3}/x").finish(local)
    assert set(content_of(fetched(f"{s3}/x/deep").parent)) == {"deep/b.txt", "deep/c"}


@pytest.mark.parametrize("step", range(4))
def test_a_killed_upload_is_nothing_and_goes_on_where_it_was(s3, local, written, monkeypatch, step):
    def killed(address, content):
        if len(written) == step:
            raise KeyboardInterrupt
        written.append(address)
        store.write(address, content)

    with monkeypatch.context() as patched:
        patched.setattr(module, "write", killed)
        patched.setattr(module, "create", killed)
        with pytest.raises(KeyboardInterrupt):
            BucketFolder(f"{s3}/x").finish(local)
    with pytest.raises(ValueError, match="nothing finished"):
        fetched(f"{s3}/x")
    assert len(written) == step
    BucketFolder(f"{s3}/x").finish(local)
    assert len(written) == len(set(written)) == 4  # "a" and "same" have the same bytes, but not the same name
    assert content_of(fetched(f"{s3}/x")) == CONTENT


def test_two_writers_of_the_same_and_of_others(s3, local):
    BucketFolder(f"{s3}/x").finish(local)
    BucketFolder(f"{s3}/x").finish(local)
    (local / "a").write_bytes(b"another")
    before = names_in(f"{s3}/x")
    with pytest.raises(ValueError, match=r"s3://.*/x holds something else, which was finished before; choose another"):
        BucketFolder(f"{s3}/x").finish(local)
    assert content_of(fetched(f"{s3}/x")) == CONTENT
    assert names_in(f"{s3}/x") == before  # without the part of the one who came too late


def test_what_cannot_be_deleted_stays_and_is_said(s3, local, monkeypatch, caplog):
    def refuse(addresses):
        raise PermissionError("nobody may")

    store.write(f"{s3}/x/parts/stray", b"1")
    monkeypatch.setattr(module, "delete", refuse)
    BucketFolder(f"{s3}/x").finish(local)
    assert "1 objects in" in caplog.text
    assert "nobody may" in caplog.text
    assert content_of(fetched(f"{s3}/x")) == CONTENT


def test_damaged_and_missing_parts_are_one_line(s3, local, monkeypatch, tmp_path):
    manifest = BucketFolder(f"{s3}/x").finish(local)
    part = BucketFolder(f"{s3}/x").part("deep/b.txt", manifest.files["deep/b.txt"])
    store.write(part, b"23")
    for problem in ("damaged", "missing"):
        with pytest.raises(ValueError, match=rf"-b.txt, which is deep/b.txt of s3://.*/x, is {problem}; restore it"):
            fetched(f"{s3}/x")
        assert not (tmp_path / "cache/buckets/copies" / manifest.digest / "files/deep/b.txt").exists()
        store.delete([part])
    store.write(part, b"22")
    assert content_of(fetched(f"{s3}/x")) == CONTENT
    store.write(f"{s3}/x/manifest.json", manifest.content()[:-9])
    with pytest.raises(ValueError, match=r"manifest.json is damaged"):
        fetched(f"{s3}/x")


def test_steps_let_another_machine_go_on(s3, local, tmp_path, written):
    here, there, elsewhere = BucketFolder(f"{s3}/x"), BucketFolder(f"{s3}/x"), tmp_path / "elsewhere"
    assert not there.restore(elsewhere, "same")
    here.add_step(local, ["a"], "same")
    assert there.manifest() is None
    assert there.restore(elsewhere, "same")
    assert content_of(elsewhere) == {"a": b"1", "same": b"1"}
    (elsewhere / "deep").mkdir()
    (elsewhere / "deep" / "b.txt").write_bytes(b"22")
    there.add_step(elsewhere, ["deep"], "same")
    (elsewhere / "deep" / "b.txt").write_bytes(b"damaged")
    there.restore(elsewhere, "same")
    assert (elsewhere / "deep" / "b.txt").read_bytes() == b"22"
    (elsewhere / "deep" / "c").write_bytes(b"")
    there.finish(elsewhere)
    assert len(written) == len(set(written))
    assert {name.partition("/")[0] for name in names_in(f"{s3}/x")} == {"parts", "manifest.json"}
    assert content_of(fetched(f"{s3}/x")) == CONTENT
    (local / "a").write_bytes(b"changed")
    assert here.restore(local, "same")
    assert content_of(local) == CONTENT


def test_a_claimed_folder_takes_no_steps_of_others(s3, local, tmp_path):
    BucketFolder(f"{s3}/x").add_step(local, ["a"], "same")
    (local / "same").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"s3://.*/x is being written by another process, with other inputs"):
        BucketFolder(f"{s3}/x").add_step(local, ["deep"], "same")
    BucketFolder(f"{s3}/x").restore(tmp_path / "restored", "same")
    assert content_of(tmp_path / "restored") == {"a": b"1", "same": b"1"}


def test_a_manifest_of_something_else_is_none(s3, local):
    store.write(f"{s3}/x/manifest.json", b'{"bundle_id": "b"}')
    assert BucketFolder(f"{s3}/x").manifest() is None
    with pytest.raises(ValueError, match="holds something else"):
        BucketFolder(f"{s3}/x").finish(local)
    assert isinstance(BucketFolder(f"{s3}").finish(local), FolderManifest)
    assert fetched(f"{s3}/deep/b.txt").read_bytes() == b"22"  # a bucket may be a folder as a whole


def test_where_nothing_can_be_written(s3):
    BucketFolder(f"{s3}/x").require_writable()
    assert not names_in(s3)
    with pytest.raises(ValueError, match=r"cannot write s3://nobody-has-this-bucket/x: NoSuchBucket: .* may write"):
        BucketFolder("s3://nobody-has-this-bucket/x").require_writable()
