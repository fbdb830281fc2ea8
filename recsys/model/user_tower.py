"""The user tower: from a history of item vectors and features to a vector.

Shape suffixes: B users, L history length, D embedding_dim.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import OWN_ID
from .cpu_kernels import Dropout, RMSNorm
from .feature_tensors import FeatureRows
from .metadata_encoder import MetadataEncoder
from .model_spec import ModelSpec
from .transformer import Block, rotation

HISTORY_SCALE = 4.0  # see INIT_STD


class FoldIn(nn.Module):
    """A linear estimate of a new user's own vector from their pooled history.

    Fitted after training (training/own_vectors.py).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(dim), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(dim), requires_grad=False)

    def forward(self, pooled: Tensor) -> Tensor:
        """The estimate, [..., D] to [..., D]. Only the direction of ``pooled`` counts."""
        return F.linear(F.normalize(pooled, dim=-1), self.weight, self.bias)


class UserTower(nn.Module):
    """A user's history, as item vectors, and the user's features to one vector."""

    def __init__(self, spec: ModelSpec, *, torchrec: bool = False) -> None:
        super().__init__()
        self.history_encoder = spec.history_encoder
        self.head_dim = spec.embedding_dim // spec.num_heads
        self.dropout = Dropout(spec.dropout)
        self.user_dropout = spec.user_dropout
        num_layers = spec.num_layers if spec.history_encoder == "transformer" else 0
        self.blocks = nn.ModuleList(Block(spec.embedding_dim, spec.num_heads, spec.dropout) for _ in range(num_layers))
        self.norm = RMSNorm(spec.embedding_dim) if num_layers else nn.Identity()
        self.metadata = MetadataEncoder(spec.user_transforms, spec.embedding_dim, "user", torchrec=torchrec)
        self.fold_in = FoldIn(spec.embedding_dim) if spec.own_vectors else None

    def forward(self, history_BLD: Tensor, lengths_B: Tensor, features: FeatureRows) -> Tensor:
        """One user vector per event, which is to predict an item, [B, L, D].

        The transformer predicts the event's next item, from the events up to and including it. Pooling predicts the
        event's own item, from all other events.

        Args:
            history_BLD: item vectors, right-padded.
            lengths_B: int64.
            features: of the users.
        """
        x_BLD = self.dropout(history_BLD)
        if self.history_encoder == "pooling":
            total_B1D = (x_BLD * _is_event(x_BLD, lengths_B)).sum(dim=1, keepdim=True)
            x_BLD = (total_B1D - x_BLD) / (lengths_B - 1).clamp(min=1)[:, None, None]
            x_BLD = x_BLD if self.fold_in is None else self.fold_in(x_BLD)
        else:
            x_BLD = x_BLD * HISTORY_SCALE
            rotation_LH = rotation(x_BLD.shape[1], self.head_dim, x_BLD.dtype, x_BLD.device)
            for block in self.blocks:
                x_BLD = block(x_BLD, rotation_LH)
        return self._finish(x_BLD, features)

    def last(self, history_BLD: Tensor, lengths_B: Tensor, features: FeatureRows) -> Tensor:
        """The user vector after the whole history, [B, D]. lengths_B: int64, each at least 1."""
        if self.history_encoder == "pooling":
            pooled_BD = (history_BLD * _is_event(history_BLD, lengths_B)).sum(dim=1) / lengths_B.unsqueeze(1)
            pooled_BD = pooled_BD if self.fold_in is None else self.fold_in(pooled_BD)
            return self._finish(pooled_BD.unsqueeze(1), features).squeeze(1)
        x_BLD = history_BLD * HISTORY_SCALE
        rotation_LH = rotation(x_BLD.shape[1], self.head_dim, x_BLD.dtype, x_BLD.device)
        for block in self.blocks[:-1]:
            x_BLD = block(x_BLD, rotation_LH)
        return self._finish(self.blocks[-1](x_BLD, rotation_LH, lengths_B - 1), features).squeeze(1)

    def _finish(self, x_BLD: Tensor, features: FeatureRows) -> Tensor:
        """Add the user's features, and normalise."""
        metadata_BD = self.metadata(features)
        if metadata_BD is not None:
            known_B = torch.ones(len(metadata_BD), dtype=torch.bool, device=metadata_BD.device)
            if self.training and self.user_dropout:  # so that users without features are served well, too
                known_B = torch.rand(len(metadata_BD), device=metadata_BD.device) >= self.user_dropout
            if self.fold_in is not None:  # a user's own vector replaces the pooled history: it has learned more from it
                assert features.bags is not None
                has_own_B = known_B & (features.bags[OWN_ID.name].lengths() > 0)
                x_BLD = x_BLD * ~has_own_B[:, None, None]
            metadata_BD = self.dropout(metadata_BD) * known_B.unsqueeze(1)
            x_BLD = x_BLD + metadata_BD.unsqueeze(1).to(x_BLD)
        normed_BLD: Tensor = self.norm(x_BLD)
        return normed_BLD


def _is_event(x_BLD: Tensor, lengths_B: Tensor) -> Tensor:
    """1 for an event, 0 for padding, [B, L, 1], of x's dtype."""
    return (torch.arange(x_BLD.shape[1], device=x_BLD.device) < lengths_B.unsqueeze(1)).unsqueeze(-1).to(x_BLD)
