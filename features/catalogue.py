"""The catalogue: which items there are, in which order, and their encoded metadata; likewise the users'."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.config import Config, FeatureConfig
from recsys.data import (
    OWN_ID,
    Encoder,
    Int64,
    MetadataCounts,
    MetadataTable,
    Transform,
    encode_features,
    factorize_ids,
    fit_feature,
    with_own_id,
    write_arrow,
)
from recsys.errors import InputError


@dataclass(frozen=True)
class Catalogue:
    """The fitted encoder, and what was odd about the metadata of items and users."""

    encoder: Encoder
    item_counts: MetadataCounts
    user_counts: MetadataCounts


def write_catalogue(
    config: Config,
    folder: Path,
    item_ids: pl.Series,
    item_counts: Int64,
    item_metadata: MetadataTable,
    user_metadata: MetadataTable,
    user_ids: pl.Series,
    training_users: pl.Series,
) -> Catalogue:
    """Order the catalogue, fit the transforms on its trained part, write train/ and catalogue/ but for the shards.

    item_ids: the distinct ids of the log, sorted. item_counts: [num distinct items] training events. user_ids,
    training_users: the distinct ids of the log and of its training window, sorted. Returns the encoder, and counts of
    what the metadata lacks. Raises InputError where no item is left to train on.
    """
    items, users = item_metadata.table, user_metadata.table
    kept = item_counts >= config.data.min_item_events
    trained = item_ids.filter(kept)
    if not len(trained):
        raise InputError(
            f"no item has data.min_item_events = {config.data.min_item_events} training events; the most frequent of "
            f"{len(item_ids)} items has {item_counts.max()}: lower it"
        )
    # an item that has neither a training event nor metadata could not be placed
    every = config.data.catalogue == "all" and config.data.items is not None
    known = items.get_column("item_id") if every else item_ids
    cold = known.filter(~known.is_in(trained.implode())).sort()
    catalogue = in_order(pl.concat([trained, cold]), items)
    item_transforms = fit_features(config.features.item, catalogue.head(len(trained)))
    features, listed = config.features.user, users
    if config.embeds_users:
        features = (*features, OWN_ID)
        everyone, _ = factorize_ids(pl.concat([users.get_column("user_id"), training_users]))
        listed = with_own_id(in_order(everyone, users))
    user_transforms = fit_features(features, in_order(training_users, listed))
    encoder = Encoder(
        item_ids=catalogue.get_column("item_id"),
        num_trained=len(trained),
        item_transforms=item_transforms,
        user_transforms=user_transforms,
        columns=config.data.columns,
        user_id_type=str(user_ids.dtype),
    )
    item_features, user_features = encode_features(item_transforms, catalogue), encode_features(user_transforms, listed)
    encoder.write(folder / "train" / "encoder.json")
    write_arrow(pl.DataFrame([trained, pl.Series("count", item_counts[kept])]), folder / "train" / "items.arrow")
    write_arrow(catalogue, folder / "catalogue" / "items.arrow")
    write_arrow(item_features, folder / "catalogue" / "features.arrow")
    encoded_users = pl.DataFrame([listed.get_column("user_id"), *user_features])
    write_arrow(encoded_users, folder / "catalogue" / "users.arrow")
    return Catalogue(
        encoder,
        item_metadata.counts.model_copy(
            update={
                "missing": _missing(item_transforms, item_features),
                "without_metadata": _absent(encoder.item_ids, items.get_column("item_id")) if config.data.items else 0,
            }
        ),
        user_metadata.counts.model_copy(
            update={
                "missing": _missing(user_transforms, user_features),
                "without_metadata": _absent(user_ids, users.get_column("user_id")) if config.data.users else 0,
            }
        ),
    )


def _missing(transforms: tuple[Transform, ...], encoded: pl.DataFrame) -> dict[str, int]:
    """Rows without a finite number, by numeric column."""
    return {
        transform.name: int(encoded.get_column(transform.name).arr.get(1).sum())
        for transform in transforms
        if transform.kind == "numeric"
    }


def _absent(ids: pl.Series, known: pl.Series) -> int:
    return int((~ids.is_in(known.implode())).sum())


def fit_features(features: tuple[FeatureConfig, ...], training_rows: pl.DataFrame) -> tuple[Transform, ...]:
    """One fitted transform per feature, from the metadata of training items (or users) only."""
    return tuple(fit_feature(feature, training_rows.get_column(feature.name)) for feature in features)


def in_order(ids: pl.Series, metadata: pl.DataFrame) -> pl.DataFrame:
    """The metadata rows of ``ids``, in that order; nulls where there is none."""
    return ids.to_frame().join(metadata, on=ids.name, how="left", maintain_order="left")
