"""The records of an evaluation as typed models. Each file is written and read here, and nowhere else.

They lie beside a bundle, outside its seal. What an earlier release left out has a default, so that versions published
by it can still be judged.
"""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from recsys import files
from recsys.errors import InputError
from recsys.metrics import Interval
from recsys.record import Record
from recsys.search import IndexSpec

from .geometry import Geometry

MethodFigures = dict[str, Interval]  # metric ("ndcg@10") -> mean over the queries, with a 95% bootstrap interval
FIGURES, SLICES, EXPOSURE, GEOMETRY = "the evaluation", "the slices", "the exposure", "the geometry"
PARTS, MAP, GOLDEN = "the parts of the item vectors", "the map of the items", "the golden answers"
Differences = dict[str, Interval]  # baseline -> model minus baseline in the headline metric, paired by query


class Exposure(BaseModel):
    """How broadly a method recommends. The figures are defined in recsys/metrics.py; on disk ``_at_`` is ``@``."""

    model_config = ConfigDict(
        frozen=True, populate_by_name=True, alias_generator=lambda field: field.replace("_at_", "@")
    )

    coverage_at_10: float
    coverage_at_20: float
    coverage_at_100: float
    novelty_at_10: float
    novelty_at_20: float
    novelty_at_100: float
    gini_at_10: float


class SliceFigures(BaseModel):
    """NDCG@10 of every method on a slice. On disk the methods stand beside ``name`` and ``num_queries``."""

    model_config = ConfigDict(frozen=True)

    name: str
    num_queries: int
    methods: dict[str, Interval]

    @model_validator(mode="before")
    @classmethod
    def _gather_methods(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "methods" in value:
            return value
        own = ("name", "num_queries")
        methods = {method: figure for method, figure in value.items() if method not in own}
        return {name: value[name] for name in own if name in value} | {"methods": methods}

    @model_serializer(mode="wrap")
    def _flatten_methods(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        fields: dict[str, Any] = dump(self)
        methods: dict[str, object] = fields.pop("methods")
        return methods | fields


class ItemParts(BaseModel):
    """Validation NDCG@10 with whole item vectors, with ids alone and with metadata alone."""

    model_config = ConfigDict(frozen=True)

    both: float
    ids: float
    metadata: float


class EvaluationFigures(BaseModel):
    """The figures of a bundle on a set of queries.

    methods, differences, exposure: by method, "model" or a baseline's name; differences for baselines only.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    bundle_id: str
    num_queries: int
    headline: str
    methods: dict[str, MethodFigures]
    differences: Differences
    exposure: dict[str, Exposure] = Field(alias="spread")
    slices: tuple[SliceFigures, ...]

    def headline_of(self, method: str) -> Interval:
        """The headline metric of a method."""
        return self.methods[method][self.headline]


class EvaluationRecord(EvaluationFigures, Record):
    """What is known about the quality of a bundle when it is published.

    log, dataset: digests of the events that were read and of the dataset made of them. geometry: None for a baseline,
    or where it was left out. index: None for a baseline. item_parts: None where the model reads no item metadata.
    best_epoch: 0 for a baseline. left_out: the parts that could not be made, by name (FIGURES to GOLDEN), and why;
    without FIGURES there are no methods, differences, exposure and slices. inherited_from: the id of the bundle that
    all of this was measured on, where ``bundle_id`` is a refresh of it; None where it is of ``bundle_id`` itself.
    """

    FILE: ClassVar[str] = "evaluation.json"

    geometry: Geometry | None
    index: IndexSpec | None
    item_parts: ItemParts | None = None
    log: str
    dataset: str
    best_epoch: int
    left_out: dict[str, str] = {}
    inherited_from: str | None = None

    def write(self, folder: Path) -> None:
        """Write the record; what is complete and measured is written as before it could be otherwise."""
        unset = {name for name in ("left_out", "inherited_from") if not getattr(self, name)}
        files.write_json(folder / self.FILE, self.model_dump(mode="json", by_alias=True, exclude=unset))

    def inherited_by(self, bundle_id: str) -> "EvaluationRecord":
        """The record of a refresh, which says on which bundle these figures were measured."""
        return self.model_copy(update={"bundle_id": bundle_id, "inherited_from": self.inherited_from or self.bundle_id})

    def require(self, *parts: str) -> None:
        """Raise InputError, with the reason, if one of these parts was left out, or measured on another bundle."""
        if self.inherited_from is not None:
            raise InputError(
                f"the figures of bundle {self.bundle_id[:12]} were measured on {self.inherited_from[:12]}, of which it "
                "is a refresh; expected its own: look at those of that bundle, or run recsys evaluate"
            )
        for part in (FIGURES, *parts):
            if part in self.left_out:
                raise InputError(f"{part} was left out: {self.left_out[part]}")

    @property
    def space(self) -> Geometry:
        """The geometry. Raises InputError, with the reason, if it was left out."""
        self.require(GEOMETRY)
        assert self.geometry is not None
        return self.geometry

    @field_serializer("geometry", mode="wrap")
    def _measured(self, geometry: Geometry | None, dump: SerializerFunctionWrapHandler) -> dict[str, float] | None:
        """Without a figure that earlier releases did not measure."""
        if geometry is None:
            return None
        figures: dict[str, float | None] = dump(geometry)
        return {name: value for name, value in figures.items() if value is not None}

    @field_serializer("index", mode="wrap")
    def _as_before(self, index: IndexSpec | None, dump: SerializerFunctionWrapHandler) -> dict[str, object] | None:
        """Without a setting that only some kinds have, and earlier releases did not write."""
        if index is None:
            return None
        settings: dict[str, object] = dump(index)
        return {name: value for name, value in settings.items() if name != "overfetch" or value is not None}

    @field_validator("item_parts", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return value or None  # earlier releases wrote {}
