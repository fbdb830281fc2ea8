"""The user tower: from a history of item vectors and features to a vector.

Shape suffixes: K members, B users, L history length, D embedding_dim.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import OWN_ID
from .feature_tensors import FeatureRows
from .kernels import Dropout, RMSNorm, rotation
from .member_linear import MemberLinear
from .metadata_encoder import MetadataEncoder
from .model_spec import ModelSpec
from .transformer import Block

HISTORY_SCALE = 4.0  # see INIT_STD


class FoldIn(MemberLinear):
    """A linear estimate of a new user's own vector from their pooled history.

    Fitted after training (training/own_vectors.py).
    """

    def __init__(self, num_members: int, dim: int) -> None:
        super().__init__(num_members, dim, dim)
        self.requires_grad_(False)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Estimate every user's own vector to be their pooled history itself."""
        self.weight.copy_(torch.eye(self.weight.shape[-1]))
        self.bias.zero_()

    def forward(self, pooled: Tensor) -> Tensor:
        """The estimate, [K, ..., D] to [K, ..., D]. Only the direction of ``pooled`` counts."""
        return super().forward(F.normalize(pooled, dim=-1))


class UserTower(nn.Module):
    """Every member's view of a user: their history, as item vectors, and their features to one vector."""

    def __init__(self, spec: ModelSpec, *, torchrec: bool = False) -> None:
        super().__init__()
        members, dim = spec.num_members, spec.embedding_dim
        self.history_encoder = spec.history_encoder
        self.history_scale = HISTORY_SCALE if spec.history_encoder == "transformer" else 1.0
        self.num_members = members
        self.head_dim = dim // spec.num_heads
        self.dropout = Dropout(spec.dropout)
        self.user_dropout = spec.user_dropout
        num_layers = spec.num_layers if spec.history_encoder == "transformer" else 0
        self.blocks = nn.ModuleList(Block(members, dim, spec.num_heads, spec.dropout) for _ in range(num_layers))
        self.norm = RMSNorm(members, dim) if num_layers else nn.Identity()
        self.metadata = MetadataEncoder(spec.own_user_transforms, spec.width, "user", torchrec=torchrec)
        self.fold_in = FoldIn(members, dim) if spec.own_vectors else None

    def forward(
        self,
        history_KBLD: Tensor,
        lengths_B: Tensor,
        features: FeatureRows,
        metadata_BV: Tensor | None = None,
        *,
        with_profiles: bool = False,
    ) -> Tensor:
        """One user vector per event, which is to predict an item, [K, B, L, D].

        The transformer predicts the event's next item, from the events up to and including it. Pooling predicts the
        event's own item, from all other events. ``with_profiles`` adds one vector per user, from columns alone, as if
        there were one more event: [K, B, L + 1, D].

        Args:
            history_KBLD: the members' item vectors times ``history_scale``, right-padded.
            lengths_B: int64.
            features: of the users.
            metadata_BV: what they add, as ``read`` returns it; None: it is computed.
        """
        x_KBLD = self._events(history_KBLD, lengths_B) if history_KBLD.shape[2] else history_KBLD
        x_KBLD = F.pad(x_KBLD, (0, 0, 0, 1)) if with_profiles else x_KBLD
        return self._finished(x_KBLD, self.read(features, None) if metadata_BV is None else metadata_BV, features)

    def _events(self, history_KBLD: Tensor, lengths_B: Tensor) -> Tensor:
        x_KBLD: Tensor = self.dropout(history_KBLD)
        if self.history_encoder == "pooling":
            total_KB1D = (x_KBLD * _is_event(x_KBLD, lengths_B)).sum(dim=2, keepdim=True)
            x_KBLD = (total_KB1D - x_KBLD) / (lengths_B - 1).clamp(min=1)[:, None, None]
            return x_KBLD if self.fold_in is None else self.fold_in(x_KBLD)
        rotation_LH = rotation(x_KBLD.shape[2], self.head_dim, x_KBLD.dtype, x_KBLD.device)
        for block in self.blocks:
            x_KBLD = block(x_KBLD, rotation_LH)
        return x_KBLD

    def profile(self, features: FeatureRows, shared_BV: Tensor | None = None) -> Tensor:
        """The vectors of users from their columns alone, [K, B, D]. Arguments: as for ``finish``."""
        metadata_BV = self.read(features, shared_BV)
        assert metadata_BV is not None  # or the model would not know profiles
        nothing = metadata_BV.new_zeros(self.num_members, len(metadata_BV), 1, metadata_BV.shape[1] // self.num_members)
        return self._finished(nothing, metadata_BV, features).squeeze(2)

    def last(
        self, history_KBLD: Tensor, lengths_B: Tensor, features: FeatureRows, shared_BV: Tensor | None = None
    ) -> Tensor:
        """The user vector after the whole history, [K, B, D]. Arguments: as for ``forward``, no history empty."""
        if self.history_encoder == "pooling":
            pooled_KBD = (history_KBLD * _is_event(history_KBLD, lengths_B)).sum(dim=2) / lengths_B.unsqueeze(1)
            pooled_KBD = pooled_KBD if self.fold_in is None else self.fold_in(pooled_KBD)
            return self.finish(pooled_KBD.unsqueeze(2), features, shared_BV).squeeze(2)
        x_KBLD = history_KBLD
        rotation_LH = rotation(x_KBLD.shape[2], self.head_dim, x_KBLD.dtype, x_KBLD.device)
        for block in self.blocks[:-1]:
            x_KBLD = block(x_KBLD, rotation_LH)
        return self.finish(self.blocks[-1](x_KBLD, rotation_LH, lengths_B - 1), features, shared_BV).squeeze(2)

    def finish(self, x_KBLD: Tensor, features: FeatureRows, shared_BV: Tensor | None = None) -> Tensor:
        """Add the users' features to what their histories became, [K, B, L, D], and normalise."""
        return self._finished(x_KBLD, self.read(features, shared_BV), features)

    def read(self, features: FeatureRows, shared_BV: Tensor | None) -> Tensor | None:
        """What users' columns add, [B, V]: once a step, since a table is read once. None without any.

        shared_BV: what the columns that both towers read add.
        """
        own_BV = self.metadata(features)
        return own_BV if shared_BV is None else shared_BV if own_BV is None else own_BV + shared_BV

    def _finished(self, x_KBLD: Tensor, metadata_BV: Tensor | None, features: FeatureRows) -> Tensor:
        if metadata_BV is not None:
            num_members, num_users = x_KBLD.shape[:2]
            metadata_KBD = metadata_BV.view(num_users, num_members, -1).transpose(0, 1)
            if self.training and self.user_dropout:  # so that users without features are served well, too
                known_KB = torch.rand(num_members, num_users, device=metadata_BV.device) >= self.user_dropout
            else:
                known_KB = torch.ones(num_members, num_users, dtype=torch.bool, device=metadata_BV.device)
            if self.fold_in is not None:  # a user's own vector replaces the pooled history: it has learned more from it
                assert features.bags is not None
                has_own_KB = known_KB & (features.bags[OWN_ID.name].lengths() > 0)
                x_KBLD = x_KBLD * ~has_own_KB[:, :, None, None]
            metadata_KBD = self.dropout(metadata_KBD) * known_KB.unsqueeze(2)
            x_KBLD = x_KBLD + metadata_KBD.unsqueeze(2).to(x_KBLD)
        normed_KBLD: Tensor = self.norm(x_KBLD)
        return normed_KBLD


def _is_event(x_KBLD: Tensor, lengths_B: Tensor) -> Tensor:
    """1 for an event, 0 for padding, [B, L, 1], of x's dtype."""
    return (torch.arange(x_KBLD.shape[2], device=x_KBLD.device) < lengths_B.unsqueeze(1)).unsqueeze(-1).to(x_KBLD)
