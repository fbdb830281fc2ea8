import sys

import pytest

from recsys.actions.engine import Engine
from recsys.errors import InputError


def test_an_engine_is_this_machine_unless_ray_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Engine().is_ray
    assert Engine("ray", "head:6379").is_ray
    with pytest.raises(InputError, match="--address names a Ray cluster, but the engine is local; add --engine ray"):
        assert not Engine(address="head:6379").is_ray
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"--engine ray cannot be used without ray .*pip install 'recsys\[ray\]'"):
        assert Engine("ray").is_ray
