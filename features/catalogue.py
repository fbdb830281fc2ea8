"""The catalogue: which items there are, in which order, and their encoded metadata; likewise the users'."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.config import Config, FeatureConfig, FeaturesConfig
from recsys.data import (
    OWN_ID,
    Encoder,
    Int32,
    Int64,
    MetadataCounts,
    MetadataTable,
    Transform,
    count_clipped,
    encode_features,
    factorize_ids,
    fit_feature,
    fit_text_vector,
    joined_texts,
    lookup_rows,
    with_own_id,
    write_arrow,
)
from recsys.errors import InputError
from recsys.text_encoders import encoder_functions, import_functions


@dataclass(frozen=True)
class Logged:
    """What the whole log says about its items and users.

    Attributes:
        item_ids: Distinct and sorted.
        item_counts: [num_items] int64 training events.
        user_ids: Distinct and sorted; none if the configuration needs none.
        training_users: Likewise, of the training window.
    """

    item_ids: pl.Series
    item_counts: Int64
    user_ids: pl.Series
    training_users: pl.Series


@dataclass(frozen=True)
class Catalogue:
    """Items and users as the model sees them.

    Attributes:
        encoder: The order of the items, and the fitted features.
        item_counts: [num_trained] int64 training events of the trained items, which are all items where the data are
            pairs of texts.
        items: item_id and raw metadata, in catalogue order.
        item_features: Encoded item features, in catalogue order.
        user_features: user_id and encoded user features.
        user_texts: What the text features of each user say, as it is; None without such a feature.
        item_metadata, user_metadata: What the metadata lacks, and what it repeats.
    """

    encoder: Encoder
    item_counts: Int64
    items: pl.DataFrame
    item_features: pl.DataFrame
    user_features: pl.DataFrame
    user_texts: pl.Series | None
    item_metadata: MetadataCounts
    user_metadata: MetadataCounts

    def write(self, folder: Path) -> None:
        """Write ``folder/catalogue`` and, of ``folder/train``, all but the shards."""
        trained = pl.DataFrame([
            self.encoder.item_ids.head(self.encoder.num_trained), pl.Series("count", self.item_counts)
        ])  # fmt: skip
        self.encoder.write(folder / "train" / "encoder.json")
        write_arrow(trained, folder / "train" / "items.arrow")
        write_arrow(self.items, folder / "catalogue" / "items.arrow")
        write_arrow(self.item_features, folder / "catalogue" / "features.arrow")
        write_arrow(self.user_features, folder / "catalogue" / "users.arrow")
        if self.user_texts is not None:
            write_arrow(self.user_texts.alias("text").to_frame(), folder / "catalogue" / "user_texts.arrow")

    def embedding_rows(self, item_ids: pl.Series) -> Int32:
        """[n] int32 rows of the embedding table: the position of a trained item, 0 for any other."""
        positions = self.encoder.positions(item_ids)
        return np.where(positions <= self.encoder.num_trained, positions, np.int32(0))


def fit_catalogue(config: Config, log: Logged, item_metadata: MetadataTable, user_metadata: MetadataTable) -> Catalogue:
    """Order the catalogue, and fit the features on its trained items and on the users of the training window.

    Args:
        config: Says which items count as trained, which others to keep, and which columns are features.
        log: What the log says.
        item_metadata, user_metadata: What else is known.

    Raises:
        InputError: No item has enough training events.
    """
    data = config.data
    is_trained = _trained_items(config, log.item_counts)
    trained_ids, trained_counts = log.item_ids.filter(is_trained), log.item_counts[is_trained]
    items = _in_catalogue_order(config, trained_ids, log.item_ids, item_metadata.table)
    training_items = items.head(len(trained_ids))
    if config.compares_texts and has_whole_catalogue(config):
        items = items.sort("item_id")  # all are placed by their texts, and none has an embedding of its own
        trained_counts = _counts_of(items.get_column("item_id"), trained_ids, trained_counts)
    users, features = user_metadata.table, config.features.user
    if config.embeds_users:
        user_ids, _ = factorize_ids(pl.concat([users.get_column("user_id"), log.training_users]))
        users, features = with_own_id(align_metadata(user_ids, users)), (*features, OWN_ID)
    described_users = align_metadata(log.training_users, users)
    shared = fit_shared_features(config.features, training_items, described_users)
    item_transforms = fit_features(config.features.item, training_items, shared)
    user_transforms = fit_features(features, described_users, shared)
    item_features = encode_features(item_transforms, items)
    user_features = encode_features(user_transforms, users)
    has_texts = any(transform.kind == "text" for transform in user_transforms)

    encoder = Encoder(
        item_ids=items.get_column("item_id"),
        num_trained=len(trained_counts),
        item_transforms=item_transforms,
        user_transforms=user_transforms,
        columns=data.columns,
        user_id_type=str(log.user_ids.dtype),
    )
    return Catalogue(
        encoder=encoder,
        item_counts=trained_counts,
        items=items,
        item_features=item_features,
        user_features=pl.DataFrame([users.get_column("user_id"), *user_features]),
        user_texts=joined_texts(user_transforms, users) if has_texts else None,
        item_metadata=_with_gaps(item_metadata, data.items, encoder.item_ids, item_transforms, items, item_features),
        user_metadata=_with_gaps(user_metadata, data.users, log.user_ids, user_transforms, users, user_features),
    )


def _trained_items(config: Config, item_counts: Int64) -> npt.NDArray[np.bool_]:
    """[num distinct items of the log] bool: which items have enough training events for an embedding of their own."""
    least = config.data.min_item_events
    is_trained: npt.NDArray[np.bool_] = item_counts >= least
    if not is_trained.any():
        raise InputError(
            f"no item has data.min_item_events = {least} training events; the most frequent of "
            f"{len(item_counts)} items has {item_counts.max()}: lower it"
        )
    return is_trained


def has_whole_catalogue(config: Config) -> bool:
    """Whether items without an event are in the catalogue, too."""
    return config.data.catalogue == "all" and config.data.items is not None


def _counts_of(item_ids: pl.Series, trained_ids: pl.Series, trained_counts: Int64) -> Int64:
    """[n] int64 training events of the items; 0 for those that are not trained."""
    counts = np.zeros(len(item_ids), np.int64)
    counts[lookup_rows(trained_ids, item_ids)] = trained_counts
    return counts


def _in_catalogue_order(config: Config, trained: pl.Series, logged: pl.Series, metadata: pl.DataFrame) -> pl.DataFrame:
    """item_id and metadata of the trained items, then of the cold ones, each sorted by id.

    With the catalogue "all", an item that has neither a training event nor metadata is left out: nothing says where to
    place it.
    """
    candidates = metadata.get_column("item_id") if has_whole_catalogue(config) else logged
    cold = candidates.filter(~candidates.is_in(trained.implode())).sort()
    return align_metadata(pl.concat([trained, cold]), metadata)


def _with_gaps(
    metadata: MetadataTable,
    location: str | None,
    ids: pl.Series,
    transforms: tuple[Transform, ...],
    raw: pl.DataFrame,
    encoded: pl.DataFrame,
) -> MetadataCounts:
    """The counts of a table with what it lacks, and what is clipped.

    ids: those that should have metadata, if a file was named. raw, encoded: the features before and after encoding.
    """
    known = metadata.table.to_series(0)
    missing = {
        transform.name: int(encoded.get_column(transform.name).alias("encoded").arr.get(1).sum())
        for transform in transforms
        if transform.kind == "numeric"
    }
    without_metadata = int((~ids.is_in(known.implode())).sum()) if location is not None else 0
    return metadata.counts.model_copy(
        update={"without_metadata": without_metadata, "missing": missing, "clipped": count_clipped(transforms, raw)}
    )


def fit_shared_features(
    features: FeaturesConfig, training_items: pl.DataFrame, training_users: pl.DataFrame
) -> dict[str, Transform]:
    """The transforms, by name, of features of one name and kind on both sides, such as the texts of a pair.

    They are fitted on both columns together, so that the towers can share a table.
    """
    shared = {}
    for feature in features.item:
        if feature in features.user:
            columns = [rows.get_column(feature.name) for rows in (training_items, training_users)]
            if columns[0].dtype == columns[1].dtype:
                shared[feature.name] = fit_feature(feature, pl.concat(columns))
    return shared


def fit_features(
    features: tuple[FeatureConfig, ...], training_rows: pl.DataFrame, shared: Mapping[str, Transform]
) -> tuple[Transform, ...]:
    """Fit the transforms of every feature on the metadata of training items (or users); ``shared`` ones are fitted.

    A text with a pretrained encoder is two: its words, and the encoder's vector. Functions are imported by the names
    that the configuration has: it is its author who lets them run.
    """
    functions = encoder_functions(import_functions(feature.encoder for feature in features if feature.encoder))
    fitted = []
    for feature in features:
        fitted.append(shared.get(feature.name) or fit_feature(feature, training_rows.get_column(feature.name)))
        if feature.encoder is not None:
            fitted.append(fit_text_vector(feature, functions))
    return tuple(fitted)


def align_metadata(ids: pl.Series, metadata: pl.DataFrame) -> pl.DataFrame:
    """The metadata rows of ``ids``, in that order; nulls where there is none."""
    return ids.to_frame().join(metadata, on=ids.name, how="left", maintain_order="left")
