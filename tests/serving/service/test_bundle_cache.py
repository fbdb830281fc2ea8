"""The cache holds whole bundles only, and forgets what nobody needs."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from recsys.errors import InputError
from serving.service.bundle_cache import BundleCache


def test_it_keeps_what_is_named_and_what_some_alias_serves(service, settings, registered):
    cache = BundleCache(settings.cache)
    second = cache.fetch(registered.store, registered.versions[1])
    (settings.cache / ("0" * 64)).mkdir()
    cache.keep_only({registered.versions[1].bundle_id})
    serving = {version.bundle_id for version in registered.versions}
    assert {path.name for path in settings.cache.iterdir()} == serving | {"served", "locks"}
    cache.keep_only(set())
    assert not second.exists()


def test_a_damaged_copy_is_fetched_again(registered, tmp_path):
    cache = BundleCache(tmp_path / "cache")
    folder = cache.fetch(registered.store, registered.versions[0])
    (folder / "bundle" / "vectors.npy").write_bytes(b"")
    assert cache.fetch(registered.store, registered.versions[0]) == folder
    assert (folder / "bundle" / "vectors.npy").stat().st_size


def test_nothing_is_recalled_of_another_registry_or_alias(service, settings, registered):
    cache = BundleCache(settings.cache)
    assert cache.recall(registered.store.uri, "small", "champion").version == 1
    for registry, name, alias in [("other", "small", "champion"), (registered.store.uri, "small", "challenger")]:
        with pytest.raises(InputError, match="before"):
            cache.recall(registry, name, alias)


def test_workers_that_fetch_the_same_version_wait_for_each_other(registered, tmp_path, monkeypatch):
    copies, real = [], BundleCache._copy

    def slow(self, registry, version, folder):
        copies.append(folder)
        real(self, registry, version, folder)

    monkeypatch.setattr(BundleCache, "_copy", slow)
    caches = [BundleCache(tmp_path / "cache") for _ in range(4)]
    with ThreadPoolExecutor(4) as workers:
        folders = list(workers.map(lambda cache: cache.fetch(registered.store, registered.versions[0]), caches))
    assert len(set(folders)) == len(copies) == 1
