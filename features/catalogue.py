"""The catalogue: which items there are, in which order, and their encoded metadata."""

from pathlib import Path

import polars as pl

from recsys import files
from recsys.config import Config
from recsys.dataset import write_table
from recsys.encoder import Encoder
from recsys.history import Int64

from .metadata import encode_features, fit_transforms, in_order


def write_catalogue(
    config: Config,
    folder: Path,
    item_ids: pl.Series,
    item_counts: Int64,
    items: pl.DataFrame,
    users: pl.DataFrame,
    log: pl.DataFrame,
) -> Encoder:
    """Order the catalogue, fit the transforms on its trained part, write train/ and catalogue/ but for the shards."""
    kept = item_counts >= config.data.min_item_events
    trained = item_ids.filter(kept)
    known = pl.concat([items.get_column("item_id"), item_ids]) if config.data.catalogue == "all" else item_ids
    if config.data.catalogue == "all" and config.data.items is not None:
        known = items.get_column("item_id")
    cold = known.filter(~known.is_in(trained.implode())).unique().sort()
    catalogue = in_order(pl.concat([trained, cold]), items)
    trained_users = in_order(log.filter(pl.col("window") == 0).get_column("user_id").unique().sort(), users)
    item_transforms = fit_transforms(config.features.item, catalogue.head(len(trained)))
    user_transforms = fit_transforms(config.features.user, trained_users)
    encoder = Encoder(
        catalogue.get_column("item_id"), len(trained), item_transforms, user_transforms,
        config.data.columns,
        str(log.schema["user_id"]),
    )  # fmt: skip
    files.write_json(folder / "train" / "encoder.json", encoder.to_json())
    write_table(pl.DataFrame([trained, pl.Series("count", item_counts[kept])]), folder / "train" / "items.arrow")
    write_table(catalogue, folder / "catalogue" / "items.arrow")
    write_table(encode_features(item_transforms, catalogue), folder / "catalogue" / "features.arrow")
    encoded_users = [users.get_column("user_id"), *encode_features(user_transforms, users)]
    write_table(pl.DataFrame(encoded_users), folder / "catalogue" / "users.arrow")
    return encoder
