"""What is not sealed, or not by this release, is refused."""

import json

import pytest

from recsys.bundle import seal, verify


def test_a_foreign_member_is_refused(copy):
    (copy / "notes").mkdir()
    with pytest.raises(ValueError, match="notes does not belong to it"):
        verify(copy)
    (copy / "notes").rmdir()
    (copy / ".hidden").touch()
    with pytest.raises(ValueError, match=r"\.hidden does not belong to it"):
        verify(copy)


@pytest.mark.parametrize(("step", "remedy"), [(1, "upgrade recsys"), (-3, "publish it again")])
def test_another_format_is_refused(copy, step, remedy):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest.pop("digest")
    (copy / "manifest.json").write_bytes(seal.sealed(manifest | {"format": seal.FORMAT + step}))
    with pytest.raises(ValueError, match=f"has format {seal.FORMAT + step}, this release reads .*: {remedy}"):
        verify(copy)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff", b'{"digest": 1}', b"[" * 100])
def test_a_manifest_that_is_none_is_refused(copy, content):
    (copy / "manifest.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"manifest\.json was changed"):
        verify(copy)
