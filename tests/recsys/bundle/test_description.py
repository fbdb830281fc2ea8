"""model.json says where a bundle came from."""

from recsys.bundle import load_bundle, read_provenance


def test_the_provenance_is_read_without_loading_the_bundle(copy, small_run):
    provenance = read_provenance(copy)
    assert provenance == load_bundle(copy)[0].provenance
    assert {feature["name"] for feature in provenance.features["item"]} == {"genre", "tags", "title", "year"}
