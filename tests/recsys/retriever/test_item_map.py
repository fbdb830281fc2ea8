"""The map is kept as it was drawn."""

from recsys.retriever import ItemMap


def test_a_map_is_read_as_it_was_written(tmp_path):
    drawn = ItemMap(positions=[3, 1], xy=[(0.5, -1.0), (2.0, 0.25)])
    drawn.write(tmp_path)
    assert ItemMap.read(tmp_path) == drawn
