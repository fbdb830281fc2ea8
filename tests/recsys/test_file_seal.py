from recsys.file_seal import FileSeal


def test_a_seal_knows_its_file_and_no_other(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    seal = FileSeal.of(path)
    assert (seal.bytes, seal.sha256[:8]) == (3, "ba7816bf")
    assert seal.fault(path) is None
    path.write_bytes(b"abd")
    assert seal.fault(path) == "a was changed after it was written"
    (tmp_path / "link").symlink_to("a")
    assert seal.fault(tmp_path / "link") == "link is missing"
    path.unlink()
    assert seal.fault(path) == "a is missing"
