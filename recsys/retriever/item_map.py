"""The items of a catalogue on a plane, for people to look at: near items are alike."""

from typing import ClassVar

from ..record import Record


class ItemMap(Record):
    """Items on a plane. positions: catalogue positions; xy: a point for each."""

    FILE: ClassVar[str] = "map.json"

    positions: list[int]
    xy: list[tuple[float, float]]
