import time

import pytest

from recsys.buckets import BucketFolder, store


def test_a_content_goes_in_and_out_in_several_requests(s3, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "READ_AT_ONCE", 1_000)
    path, copy = tmp_path / "a", tmp_path / "deep" / "copy"
    path.write_bytes(bytes(range(256)) * 10)
    store.write(f"{s3}/x/a", path)
    store.write(f"{s3}/x/empty", b"")
    assert [(one.url, one.size) for one in store.objects_below(f"{s3}/x")] == [
        (f"{s3}/x/a", 2_560), (f"{s3}/x/empty", 0)
    ]  # fmt: skip
    store.download(f"{s3}/x/a", 2_560, copy)
    assert copy.read_bytes() == path.read_bytes()
    assert store.read(f"{s3}/x/empty") == b""
    tag = store.head(f"{s3}/x/a").e_tag
    assert store.download(f"{s3}/x/a", 2_560, copy, tag) is not None
    store.write(f"{s3}/x/a", b"others")
    copy.unlink()
    assert store.download(f"{s3}/x/a", 6, copy, tag) is None
    assert store.download(f"{s3}/x/b", 6, copy) is None
    assert not copy.exists()
    store.delete([f"{s3}/x/a", f"{s3}/x/never"])
    assert store.read(f"{s3}/x/a") is None
    assert store.head(f"{s3}/x/a") is None


def test_of_two_who_create_an_object_the_first_wins(s3):
    assert store.create(f"{s3}/a", b"mine") == b"mine"
    assert store.create(f"{s3}/a", b"yours") == b"mine"


def test_what_a_store_refuses_is_one_line():
    for verb in ("read", "write"):
        with (
            pytest.raises(ValueError, match=f"cannot {verb} it: no; expected a bucket .* may {verb}: .* AZURE_STORAGE"),
            store.store_error(verb, "it", "az://shop"),
        ):
            raise OSError("no\nand more")


def test_a_missing_bucket_is_no_missing_object(s3):
    with (
        pytest.raises(ValueError, match=r"cannot read it: NoSuchBucket: .*AWS_REGION"),
        store.store_error("read", "it", s3),
    ):
        store.read("s3://nobody-has-this-bucket/a")


@pytest.mark.parametrize("address", ["s3://", "s3:///key"])
def test_an_address_without_a_bucket_says_so(address):
    with pytest.raises(ValueError, match=f"^{address} names no bucket; expected an address such as s3://BUCKET"):
        BucketFolder(address)


def test_the_first_error_ends_the_work():
    done = []

    def work(number):
        if number == 0:
            raise ValueError("zero")
        time.sleep(0.01)
        done.append(number)
        return -number

    assert store.in_parallel(work, [3, 1, 2], "numbers", 3) == [-3, -1, -2]
    with pytest.raises(ValueError, match="zero"):
        store.in_parallel(work, range(1_000), "numbers", 1_000)
    assert len(done) < 100
