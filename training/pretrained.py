"""What a pretrained text encoder knows: training starts there, and keeps as much of it as validation asks for.

Shape suffixes: N texts, V the width of the towers' vectors, D of the encoder's.
"""

import logging

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from recsys.data import Dataset, Transform
from recsys.model import ModelSpec, TwoTower, table_name

from .batches import make_loader
from .description import TrainingDescription
from .sharding import State
from .validation import ValidationSet, best_setting, ndcg_by_query

logger = logging.getLogger(__name__)

SHARES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # of the way from the encoder to the trained weights
TEXTS_TO_FIT = 1 << 14  # enough to know the directions in which texts differ

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


def begins_as_encoder(spec: ModelSpec) -> bool:
    """Whether the model answers as a pretrained encoder would before its first step: both towers read its vectors and
    no history.
    """
    is_shared = any(one.encoding is not None and one.name in spec.shared for one in spec.item_transforms)
    return spec.history_encoder == "none" and is_shared


@torch.no_grad()
def start_at_encoders(model: TwoTower, dataset: Dataset) -> None:
    """Let the text maps of both towers start at the main directions of the texts of trained items, or training users.

    Where both towers have a feature of the same name the items' texts count, so that equal texts are mapped alike. If
    both read a column's words and its pretrained vector, the words' vectors start at zero: the model begins as the
    encoder, and words add what the encoder does not know.
    """
    item_maps, user_maps = (tower.metadata.text_maps_by_feature() for tower in (model.item_tower, model.user_tower))
    if not item_maps and not user_maps:
        return
    encoder = dataset.encoder
    items = dataset.item_features().head(encoder.num_trained)
    users = dataset.users().join(dataset.train()[0].to_frame("user_id"), on="user_id", how="semi")
    vectors = _vectors(encoder.user_transforms, users) | _vectors(encoder.item_transforms, items)
    for maps in (item_maps, user_maps):
        for name, text_map in maps.items():
            text_map.start_at(main_directions(vectors[name], text_map.out_features, model.spec.num_members))
    encoded_columns = {one.column for one in model.spec.item_transforms if one.encoding is not None}
    for name in encoded_columns.intersection(model.spec.shared):
        tables = model.item_tower.metadata.tables
        assert tables is not None  # of the words
        tables.embedding_bags[table_name("item", name)].weight.zero_()


def main_directions(vectors_ND: Float32, width: int, num_members: int) -> Float64:
    """The directions in which texts have most of their length, [V, D], orthonormal; zeros beyond D of them.

    Projected onto them, texts keep their inner products as nearly as V dimensions allow (Eckart and Young 1936): 128 of
    512 dimensions lose 1% to 4% of the NDCG, where as many random ones lose 15% to 40% (docs/LOG.md). The mean is not
    taken out, since the comparison of the encoder's own vectors is what is to be kept. Members take the directions in
    turn: each sees strong and weak ones, and together they have all.
    """
    size = vectors_ND.shape[1]
    rows = np.linspace(0, len(vectors_ND) - 1, min(len(vectors_ND), TEXTS_TO_FIT)).astype(np.int64)
    sample_ND = vectors_ND[rows].astype(np.float64)
    _, ascending_DD = np.linalg.eigh(sample_ND.T @ sample_ND)
    directions_VD = np.zeros((width, size))
    directions_VD[: min(width, size)] = ascending_DD.T[::-1][:width]
    return np.concatenate([directions_VD[member::num_members] for member in range(num_members)])


@torch.no_grad()
def best_share(
    training: TrainingDescription, start: State, trained: State, queries: ValidationSet, device: torch.device
) -> float:
    """How far from the start towards the trained weights the model answers validation queries best; 0 if not clearly.

    Few pairs teach a model their own texts and make it forget others. The straight line between both sets of weights
    keeps what is good of either (Wortsman et al. 2022, Robust fine-tuning of zero-shot models).
    """
    loader, num_items = make_loader(training), training.dataset.encoder.num_items
    model = TwoTower(training.recipe.model).to(device).eval()
    gains = {}
    for share in SHARES:
        model.load_state_dict(interpolated(start, trained, share))
        gains[share] = ndcg_by_query(model, queries, loader, num_items, device)
    best, scores = best_setting(gains, queries.targets, errors=1), {share: gain.mean() for share, gain in gains.items()}
    logger.info(
        "weights at %d%% of the way from the pretrained encoder to the trained ones: validation NDCG@10 %.4f "
        "(encoder %.4f, trained %.4f)", round(100 * best), scores[best], scores[0.0], scores[1.0],
    )  # fmt: skip
    return best


def interpolated(start: State, trained: State, share: float) -> State:
    """The weights at a share of the way."""
    return {name: torch.lerp(start[name].to(weight), weight, share) for name, weight in trained.items()}


def _vectors(transforms: tuple[Transform, ...], encoded: pl.DataFrame) -> dict[str, Float32]:
    """The pretrained vectors of texts, [N, D] each, by feature."""
    return {
        transform.name: encoded.get_column(transform.name).to_numpy().reshape(-1, transform.size)
        for transform in transforms
        if transform.encoding is not None
    }
