import json

import pytest

from recsys.buckets import FolderManifest
from recsys.file_seal import FileSeal

SEAL = FileSeal(bytes=1, sha256="0" * 64)


def test_it_names_all_visible_files_or_those_asked_for(tmp_path):
    for name in ("b/x", "a", ".a.partial", "b/.hidden/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    manifest = FolderManifest.of(tmp_path)
    assert list(manifest.files) == ["a", "b/x"]
    assert list(FolderManifest.of(tmp_path, ["b"]).files) == ["b/x"]
    assert list(manifest.below("b").files) == list(manifest.below("b/x").files) == ["b/x"]
    assert manifest.below("").files == manifest.files
    assert FolderManifest.parse(manifest.content(), "there") == manifest


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a//x", "./x", ".", ""])
def test_a_name_outside_of_the_folder_is_refused(name):
    with pytest.raises(ValueError, match="there was changed after it was written"):
        FolderManifest.parse(FolderManifest(files={name: SEAL}).content(), "there")


def test_what_is_damaged_is_one_line_and_what_is_something_else_is_none():
    content = FolderManifest(files={"a": SEAL}).content()
    for damaged, problem in (
        (content[:-5], "there is damaged"),
        (content.replace(b'"bytes": 1', b'"bytes": 2'), "there was changed"),
        (content.replace(b'"bytes": 1', b'"bytes": "many"'), "there is damaged"),
        (content.replace(b'"format": 1', b'"format": 2'), "there has format 2, expected 1"),
        (b"\xff\x00", "there is damaged"),
    ):
        with pytest.raises(ValueError, match=problem):
            FolderManifest.parse(damaged, "there")
    for other in ({"bundle_id": "b", "format": 8}, [1], "text", None):
        assert FolderManifest.parse(json.dumps(other).encode(), "there") is None
