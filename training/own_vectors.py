"""Users' own vectors: where training starts them, and what a new user, who has none, gets instead.

With unordered data every training user has a trained vector. Item and user vectors start at the leading singular
vectors of the log, from where training has little left to do. A new user's vector is estimated from their pooled
history, by a ridge regression fitted after training (the model's ``FoldIn``).

Shape suffixes: U training users, N table rows of items, D embedding_dim.
"""

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array, diags_array
from sklearn.utils.extmath import randomized_svd
from torch import Tensor
from torch.nn import functional

from recsys.data import OWN_ID, Dataset, Jagged, lookup_rows
from recsys.model import (
    INIT_STD,
    FeatureTable,
    TwoTower,
    UserTower,
    encode_catalogue,
    encode_histories,
    table_name,
)
from recsys.search import unit_rows

Float32 = npt.NDArray[np.float32]


@torch.no_grad()
def start_at_singular_vectors(model: TwoTower, dataset: Dataset, *, seed: int) -> None:
    """Set the item table and the table of users' own vectors to ``singular_vectors`` of the training histories."""
    rows_U, histories = _training_users(dataset)
    num_members = model.spec.num_members  # members share the dimensions in turn, or one would get only minor ones
    order_V = np.arange(model.spec.width).reshape(-1, num_members).T.ravel()
    sides = singular_vectors(histories, model.spec.num_rows, model.spec.width, seed=seed)
    users_UV, items_NV = (torch.from_numpy(side[:, order_V]) for side in sides)
    table = _own_vector_table(model.user_tower)
    table[rows_U] = users_UV.to(table)
    model.item_tower.ids.embeddings["item"].weight.copy_(items_NV)


@torch.no_grad()
def fit_fold_in(model: TwoTower, dataset: Dataset, *, l2: float = 1.0) -> None:
    """Fit the model's FoldIn: a ridge regression from training users' pooled histories to their own vectors.

    Users left out of the fit are served almost as well by it as by own vectors (docs/LOG.md).

    Args:
        model: A trained model, changed in place.
        dataset: What it was trained on.
        l2: The strength of the regularisation.
    """
    rows_U, histories = _training_users(dataset)
    fold_in = model.user_tower.fold_in
    assert fold_in is not None  # since there are own vectors
    fold_in.reset()  # so that encoding returns the pooled histories, its inputs
    features = FeatureTable.from_frame(dataset.encoder.item_transforms, dataset.item_features())
    items_NV = encode_catalogue(model, features, dataset.encoder.num_items, model.log_temperature.device)
    users = FeatureTable.of_users(model.spec, dataset.users())
    unknown_user_U = np.zeros(len(histories), np.int64)
    pooled_UV = encode_histories(model, items_NV, histories, users, unknown_user_U)
    own_UKD = _own_vector_table(model.user_tower)[rows_U].view(len(rows_U), model.spec.num_members, -1)
    for member, pooled_UD in enumerate(model.split_members(pooled_UV)):
        inputs = functional.pad(pooled_UD.double(), (0, 1), value=1.0)
        ridge = inputs.T @ inputs + l2 * torch.eye(inputs.shape[1]).to(inputs)
        solved = torch.linalg.solve(ridge, inputs.T @ own_UKD[:, member].double())
        fold_in.weight[member].copy_(solved[:-1].T)
        fold_in.bias[member].copy_(solved[-1])


def _training_users(dataset: Dataset) -> tuple[Tensor, Jagged]:
    """Rows of the training users in the table of own vectors, [U] int64, and their histories."""
    user_ids, histories = dataset.train()
    users = dataset.users()
    rows_of_users = lookup_rows(user_ids, users.get_column("user_id"))
    known = np.flatnonzero(rows_of_users >= 0)  # a refit also has users of validation events alone
    own_ids = Jagged.from_series(users.get_column(OWN_ID.name)).take(rows_of_users[known])
    rows = own_ids.values  # every training user has exactly one
    return torch.from_numpy(rows.astype(np.int64)), histories.take(known)


def _own_vector_table(tower: UserTower) -> Tensor:
    tables = tower.metadata.tables
    assert tables is not None  # since there are own vectors
    weight: Tensor = tables.embedding_bags[table_name("user", OWN_ID.name)].weight
    return weight


def singular_vectors(histories: Jagged, num_rows: int, embedding_dim: int, *, seed: int) -> tuple[Float32, Float32]:
    """Vectors of users and items from the truncated singular value decomposition of D_u^-1/2 R D_i^-1/2.

    R is the user-item matrix of the histories, and D_u and D_i hold its row and column sums: an ideal low-pass filter
    over the bipartite graph (Shen et al. 2021, GF-CF). The singular values are shared between the two sides, and every
    vector is scaled to the length of a table's initial rows, since only the direction matters. If the matrix has fewer
    than D dimensions, the others are 0.

    Args:
        histories: Rows of the item table; 0 and rows beyond ``num_rows`` are left out.
        num_rows: Of the item table.
        embedding_dim: D.
        seed: Of the randomised algorithm.

    Returns:
        [U, D] and [num_rows, D] float32.
    """
    known = histories.keep((histories.values > 0) & (histories.values < num_rows))
    entries = np.ones(len(known.values), np.float32), (known.row_of_value, known.values)
    counts_UN = csr_array(entries, shape=(len(known), num_rows))
    scale_U, scale_N = (1 / np.sqrt(np.maximum(counts_UN.sum(axis=axis), 1)) for axis in (1, 0))
    rank = min(embedding_dim, *counts_UN.shape)
    normed_UN = (diags_array(scale_U) @ counts_UN @ diags_array(scale_N)).astype(np.float32)
    left_UR, values_R, right_RN = randomized_svd(normed_UN, rank, random_state=seed)
    length = INIT_STD * np.sqrt(embedding_dim)
    sides = (side * np.sqrt(values_R) for side in (left_UR, right_RN.T))
    users_UD, items_ND = (
        np.pad(length * unit_rows(side), ((0, 0), (0, embedding_dim - rank))).astype(np.float32) for side in sides
    )
    return users_UD, items_ND
