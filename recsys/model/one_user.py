"""The transformer for one history on a CPU, in few operations.

A request is for one user, whose matrices are small: most of the time goes into starting operations and into reading
weights, not into arithmetic. So what depends on the weights alone is computed once: maps of the same input stand side
by side in one matrix, the weights of a norm are part of the maps that follow it, and pairs of channels that are rotated
together are complex numbers. The last block computes its last event only. Everything is float64, as in the towers that
serve (see recsys/rankers/two_tower_ranker.py), so the result rounds to the same float32.

Shape suffixes: K members, L history length, D embedding_dim, A heads, H dimensions of a head, P positions of a history,
N horizons, V the width of a vector.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data import Int64, Jagged
from .encoding import known_profiles
from .feature_tensors import FeatureRows, FeatureTable
from .kernels import RMSNorm, rotation
from .member_linear import MemberLinear
from .transformer import HORIZONS, Block
from .two_tower import TwoTower


class OneUserEncoder:
    """Encodes one user at a time, as ``TwoTower.encode_users`` encodes a batch."""

    def __init__(self, model: TwoTower) -> None:
        """model: float64, on the CPU, with a transformer; in evaluation mode."""
        tower, spec = model.user_tower, model.spec
        self._model = model
        self._scale = tower.history_scale * spec.num_members**0.5
        angles = _angles(spec.max_history, tower.head_dim)
        with torch.no_grad():
            self._blocks = [_PreparedBlock.of(block, angles) for block in tower.blocks]  # type: ignore[arg-type]

    @staticmethod
    def fits(model: TwoTower) -> bool:
        """Whether the model reads a history in order, on the CPU."""
        return model.spec.history_encoder == "transformer" and model.log_temperature.device.type == "cpu"

    @torch.inference_mode()
    def encode_each(self, items: Tensor, history: Jagged, user_features: FeatureTable, user_rows: Int64) -> Tensor:
        """``encode_histories``, one user after the other; arguments are the same."""
        vectors_QV = torch.zeros(len(history), items.shape[1], dtype=torch.float64)
        has_profile_Q = known_profiles(self._model.spec, user_features, user_rows)
        for query in range(len(history)):
            positions = history[query]
            positions = positions[positions > 0][-self._model.spec.max_history :]
            if len(positions):
                features = user_features.take(user_rows[query : query + 1])
                vectors_QV[query] = self._encode(items[torch.from_numpy(positions)], features)
            elif has_profile_Q[query]:
                vectors_QV[query] = self._model.encode_profiles(user_features.take(user_rows[query : query + 1]))[0]
        return vectors_QV

    def _encode(self, history_LV: Tensor, features: FeatureRows) -> Tensor:
        """The user's vector, [V]. history_LV: item vectors, 1 to ``max_history``. features: of this user."""
        num_events, num_members = len(history_LV), self._model.spec.num_members
        x_KLD = (history_LV.double() * self._scale).view(num_events, num_members, -1).transpose(0, 1).contiguous()
        for block in self._blocks[:-1]:
            x_KLD = block.every_event(x_KLD)
        shared_1V = self._model.shared_metadata(features)
        last_K1D = self._blocks[-1].last_event(x_KLD)
        users_K11D = self._model.user_tower.finish(last_K1D.unsqueeze(1), features, shared_1V)
        return self._model.join_members(users_K11D.squeeze(2))[0]


@dataclass(frozen=True)
class _Map:
    """Affine maps of one input side by side. weight: [K, I, O]. bias: [K, 1, O]."""

    weight: Tensor
    bias: Tensor

    @staticmethod
    def of(*linears: MemberLinear, norm: RMSNorm | None = None) -> "_Map":
        """The maps of an input, or of one that ``norm`` has not weighted yet."""
        weight_KOI = torch.cat([linear.weight for linear in linears], dim=1)
        if norm is not None:
            weight_KOI = weight_KOI * norm.weight.unsqueeze(1)
        bias_KO = torch.cat([linear.bias for linear in linears], dim=1)
        return _Map(weight_KOI.mT.contiguous(), bias_KO.unsqueeze(1))

    def outputs(self, start: int, end: int) -> "_Map":
        """Some of the outputs."""
        return _Map(self.weight[..., start:end].contiguous(), self.bias[..., start:end])

    def with_pairs(self, num_heads: int, end: int) -> "_Map":
        """The same with the two halves of each head taken in turn, in the outputs before ``end``, of several heads.

        Queries and keys change alike, so their products stay.
        """
        parts = []
        for part in (self.weight, self.bias):
            heads = part[..., :end].reshape(*part.shape[:-1], num_heads, 2, -1).transpose(-1, -2).flatten(-3)
            parts.append(torch.cat([heads, part[..., end:]], dim=-1).contiguous())
        return _Map(*parts)

    def __call__(self, x_KLI: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x_KLI, self.weight)


@dataclass(frozen=True)
class _PreparedBlock:
    """A block's weights as one user needs them.

    angles: [P, H / 2], as ``_angles`` returns them. means: [K, N, D], the weight of each moving average. shares:
    [K, P, D], what the averages at an event give the running total up to it. taken: [K, 1, D] by horizon, what they
    take of the total before the horizon.
    """

    num_heads: int
    angles: Tensor
    key_value: _Map
    query_gate: _Map
    attention_out: _Map
    means: Tensor
    shares: Tensor
    taken: list[Tensor]
    swiglu_gate: _Map
    swiglu_out: _Map

    @staticmethod
    def of(block: Block, angles_PH: Tensor) -> "_PreparedBlock":
        """Prepare a block. angles_PH: as ``_angles`` returns them."""
        dim, heads, norm = block.query.weight.shape[-1], block.num_heads, block.attention_norm
        joined = _Map.of(block.key_value, block.query, block.attention_gate, norm=norm)
        key_value, query_gate = joined.outputs(0, 2 * dim), joined.outputs(2 * dim, 4 * dim)
        key_value, query_gate = key_value.with_pairs(heads, dim), query_gate.with_pairs(heads, dim)
        means_KND = block.averages.weight * norm.weight.unsqueeze(1)
        covered_PN = torch.minimum(torch.arange(1, len(angles_PH) + 1).unsqueeze(1), _horizons(len(angles_PH)))
        return _PreparedBlock(
            num_heads=heads,
            angles=angles_PH,
            key_value=key_value,
            query_gate=query_gate,
            attention_out=_Map.of(block.attention_out),
            means=means_KND,
            shares=(1 / covered_PN.double()) @ means_KND,
            taken=[-means_KND[:, [number]] / horizon for number, horizon in enumerate(HORIZONS)],
            swiglu_gate=_Map.of(block.swiglu_in, block.swiglu_gate, norm=block.swiglu_norm),
            swiglu_out=_Map.of(block.swiglu_out),
        )

    def every_event(self, x_KLD: Tensor) -> Tensor:
        """``Block.forward`` of one history, [K, L, D]."""
        unit_KLD, num_events = _unit(x_KLD), x_KLD.shape[1]
        query, gate_KLD = self._query_gate(unit_KLD, self.angles[:num_events])
        attended = F.scaled_dot_product_attention(query, *self._key_value(unit_KLD), is_causal=True)
        total_KLD = unit_KLD.cumsum(dim=1)
        averaged_KLD = total_KLD * self.shares[:, :num_events]
        for horizon, taken_K1D in zip(HORIZONS, self.taken, strict=True):
            averaged_KLD[:, horizon:].addcmul_(total_KLD[:, :-horizon], taken_K1D)
        return self._changed(x_KLD, attended, averaged_KLD, gate_KLD)

    def last_event(self, x_KLD: Tensor) -> Tensor:
        """``Block.forward`` of one history for its last event, [K, 1, D]."""
        unit_KLD, num_events = _unit(x_KLD), x_KLD.shape[1]
        query, gate_K1D = self._query_gate(unit_KLD[:, -1:], self.angles[num_events - 1 : num_events])
        key, value = self._key_value(unit_KLD)
        share = torch.softmax(query @ key.mT / key.shape[-1] ** 0.5, dim=-1)
        averaged_K1D = ((_last_means(num_events) @ unit_KLD) * self.means).sum(dim=1, keepdim=True)
        return self._changed(x_KLD[:, -1:], share @ value, averaged_K1D, gate_K1D)

    def _query_gate(self, unit_KLD: Tensor, angles_LH: Tensor) -> tuple[Tensor, Tensor]:
        """Rotated queries [K, A, L, H], and gates [K, L, D]."""
        query_KLD, gate_KLD = self.query_gate(unit_KLD).chunk(2, dim=-1)
        return _rotated(query_KLD, self.num_heads, angles_LH), gate_KLD

    def _key_value(self, unit_KLD: Tensor) -> tuple[Tensor, Tensor]:
        """Rotated keys and values of every event, [K, A, L, H] each."""
        key_KLD, value_KLD = self.key_value(unit_KLD).chunk(2, dim=-1)
        value = value_KLD.view(*value_KLD.shape[:-1], self.num_heads, -1).transpose(1, 2)
        return _rotated(key_KLD, self.num_heads, self.angles[: unit_KLD.shape[1]]), value

    def _changed(self, x_KLD: Tensor, attended_KALH: Tensor, averaged_KLD: Tensor, gate_KLD: Tensor) -> Tensor:
        """The events after attention and SwiGLU."""
        attended_KLD = attended_KALH.transpose(1, 2).reshape(x_KLD.shape)
        x_KLD = torch.addcmul(x_KLD, torch.sigmoid(gate_KLD), self.attention_out(attended_KLD).add_(averaged_KLD))
        maps, width = self.swiglu_gate(_unit(x_KLD)), self.swiglu_out.weight.shape[1]
        hidden = F.silu(maps[..., :width]).mul_(maps[..., width : 2 * width])
        return torch.addcmul(x_KLD, torch.sigmoid(maps[..., 2 * width :]), self.swiglu_out(hidden))


def _unit(x_KLD: Tensor) -> Tensor:
    """The normalised x, without weights."""
    return F.rms_norm(x_KLD, (x_KLD.shape[-1],))


def _rotated(x_KLD: Tensor, num_heads: int, angles_LH: Tensor) -> Tensor:
    """Rotated queries or keys, [K, A, L, H], whose pairs of channels are neighbours."""
    pairs = torch.view_as_complex(x_KLD.view(*x_KLD.shape[:-1], num_heads, -1, 2))
    return torch.view_as_real(pairs * angles_LH.unsqueeze(1)).flatten(-2).transpose(1, 2)


def _angles(length: int, head_dim: int) -> Tensor:
    """[P, H / 2] complex numbers that rotate pairs of channels as ``kernels.rotate`` does."""
    cos, sin = rotation(length, head_dim, torch.float64, torch.device("cpu")).chunk(2, dim=-1)
    return torch.complex(cos, sin)


def _horizons(length: int) -> Tensor:
    """[N] int64: how many events each moving average covers, of a history of this length."""
    return torch.tensor((*HORIZONS, length)).clamp(max=length)


@lru_cache(maxsize=512)
def _last_means(length: int) -> Tensor:
    """[N, L] float64: from the events of a history to every mean at the last one."""
    horizons_N1 = _horizons(length).unsqueeze(1)
    return (torch.arange(length) >= length - horizons_N1).double() / horizons_N1
