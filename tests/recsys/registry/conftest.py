"""A bundle to register, another one, and what is registered with them."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from recsys.bundle import load_bundle, save_bundle
from recsys.registry.runs import RunRecord
from recsys.registry.store import Registry

CURVES = [{"loss": 2.0}, {"loss": 1.0}]


@pytest.fixture
def record(tmp_path):
    (tmp_path / "note.json").write_text("{}")
    return RunRecord(
        {"a.b": 1}, {"recall": 0.5}, CURVES, [(tmp_path / "note.json", "records")], {"tag": "x"}, "fine", ("log", "d")
    )


@pytest.fixture(scope="session")
def other_bundle(small_run, tmp_path_factory):
    """A second sealed bundle. path, bundle_id."""
    bundle, _ = load_bundle(small_run.run / "bundle")
    path = tmp_path_factory.mktemp("other") / "bundle"
    provenance = bundle.provenance.model_copy(update={"epoch": 99})
    return SimpleNamespace(path=path, bundle_id=save_bundle(replace(bundle, provenance=provenance), path))


@pytest.fixture
def publish(small_run, registry_uri, record):
    """A function: register a bundle, the small one unless another is given, under a name."""

    def make(name="small", bundle=None):
        path, bundle_id = (
            (small_run.run / "bundle", small_run.bundle_id) if bundle is None else (bundle.path, bundle.bundle_id)
        )
        return Registry(registry_uri).publish(name, path, bundle_id, record)

    return make
