from pathlib import Path

import pytest

from recsys.partial_files import appearing, discard_partial


def test_what_appears_is_whole_whoever_else_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x"
    path.parent.mkdir()
    with appearing(path) as lost, appearing(path) as other:
        lost.write_text("same")
        other.write_text("same")
        assert not path.exists()
    assert [entry.name for entry in path.parent.iterdir()] == ["x"]
    with pytest.raises(TypeError), appearing(path) as failed:
        failed.write_text(None)  # type: ignore[arg-type]
    lost.write_text("killed")
    discard_partial(tmp_path)
    assert [(entry.name, entry.read_text()) for entry in path.parent.iterdir()] == [("x", "same")]
