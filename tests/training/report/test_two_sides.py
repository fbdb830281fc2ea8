import re

import numpy as np
import pytest

from training.evaluation import Sketch
from training.report import two_sides
from training.report.charts import DESKTOP, PHONE


@pytest.fixture
def sketch():
    """Users around (0.3, 0), items around (-0.3, 0), and shares by which the lines can be told apart."""
    spots = np.random.default_rng(0).normal(size=(20, 2)) * 0.05
    shares = np.zeros((4, 40))
    shares[[0, 1, 2, 3], [36, 20, 22, 24]] = 1
    points = {"user_xy": (spots + np.array([0.3, 0])).tolist(), "item_xy": (spots - np.array([0.3, 0])).tolist()}
    names = ("target_cosines", "other_cosines", "user_cosines", "item_cosines")
    return Sketch(listed=[0.5, 0.25, 0.25], **points, **dict(zip(names, shares.tolist(), strict=True)))


def test_both_clouds_are_drawn_to_one_scale_in_their_colours(sketch):
    drawn = two_sides.clouds(sketch)
    assert drawn.count("var(--orange)") == 20
    assert drawn.count("var(--blue)") == 20
    places = {
        side: np.array(
            [
                [float(x), float(y)]
                for x, y in re.findall(rf'translate\(([\d.]+),([\d.]+)\)"[^>]*var\(--{side}\)', drawn)
            ]
        )
        for side in ("orange", "blue")
    }
    users, items = places["orange"], places["blue"]
    assert len(users) == len(items) == 20
    per_unit = (users.mean(axis=0) - items.mean(axis=0))[0] / 0.6  # pixels
    assert per_unit > 300
    assert np.allclose(
        (users - users.mean(axis=0)).std(axis=0) / per_unit, np.array(sketch.user_xy).std(axis=0), atol=1e-2
    )


def test_every_pair_of_sides_has_a_line_and_every_bar_its_share(sketch):
    for width in (DESKTOP, PHONE):
        lines = two_sides.cosines(sketch, width)
        for kind, shade in two_sides.COSINES.items():
            assert kind in lines
            assert f"var(--{shade})" in lines
        bars = two_sides.listed(sketch.listed, width)
        assert "in 2–3 lists: 25.0% of the items" in bars
        assert "in 4–7 lists" not in bars


def test_a_page_has_all_three(good):
    drawn = two_sides.drawings(good)
    assert drawn.count("<svg") == 5  # the clouds once, the others for desktop and phone
    assert "is left out" not in drawn
