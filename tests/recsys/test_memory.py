import os
from pathlib import Path

import pytest

from recsys import memory


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a container, whose files lie here."""
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    return tmp_path


@pytest.mark.parametrize("limit", ["max", str(6 * 2**30)])
def test_a_container_may_leave_less_than_the_machine(system: Path, limit: str) -> None:
    (system / "meminfo").write_text("MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n")
    (system / "memory.max").write_text(f"{limit}\n")
    (system / "memory.current").write_text(f"{5 * 2**30}\n")
    (system / "memory.stat").write_text(f"anon 17\ninactive_file {2 * 2**30}\n")
    assert memory.free_memory() == (16 * 2**30 if limit == "max" else 3 * 2**30)


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_container_may_allow_less_than_the_machine_has(system: Path, name: str) -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    (system / name).parent.mkdir(exist_ok=True)
    for content, expected in (("max", whole), ("9223372036854771712", whole), ("1048576", 1 << 20)):
        (system / name).write_text(f"{content}\n")
        assert memory.machine_memory() == expected


def test_without_the_files_of_linux_nothing_is_too_much(system: Path) -> None:
    assert memory.free_memory() == memory.UNLIMITED
    assert 0 < memory.machine_memory() < memory.UNLIMITED
