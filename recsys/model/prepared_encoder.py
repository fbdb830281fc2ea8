"""The transformer for histories on a CPU, in few operations.

Where users are served, batches are small: time goes into starting operations, reading weights and passes over memory as
much as into arithmetic. So what depends on the weights alone is computed once: maps of the same input stand side by
side in one matrix, the weights of a norm are part of the maps that follow it, and pairs of channels that are rotated
together are complex numbers. The last block computes its last event only. Everything is float64, as in the towers that
serve (see recsys/rankers/two_tower_ranker.py), so the result rounds to the same float32.

Shape suffixes: K members, B users, L history length, R = B * L, D embedding_dim, A heads, H dimensions of a head,
P positions of a history, N horizons, V the width of a vector.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data import Int64, Jagged
from .encoding import by_length, fill_in_profiles
from .feature_tensors import FeatureRows, FeatureTable
from .kernels import RMSNorm, rotation
from .member_linear import MemberLinear
from .transformer import HORIZONS, Block
from .two_tower import TwoTower

EVENTS_OF_A_THREAD = 1 << 9  # to encode at once, padding included: more would not fit a core's cache


class PreparedEncoder:
    """Encodes histories as ``encode_histories`` does, with a model whose weights do not change any more."""

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
    def encode(self, items: Tensor, history: Jagged, user_features: FeatureTable, user_rows: Int64) -> Tensor:
        """The users' vectors [Q, V], float64; arguments are those of ``encode_histories``."""
        history = history.keep(history.values > 0).tail(self._model.spec.max_history)
        vectors_QV = torch.zeros(len(history), items.shape[1], dtype=torch.float64)
        for queries in by_length(history.lengths, EVENTS_OF_A_THREAD * torch.get_num_threads()):
            batch = history.take(queries)
            history_BLV = self._model.lift(items[torch.from_numpy(batch.padded().astype(np.int64))])
            features = user_features.take(user_rows[queries])
            vectors_QV[torch.from_numpy(queries)] = self._encode(history_BLV, torch.from_numpy(batch.lengths), features)
        fill_in_profiles(self._model, vectors_QV, history.lengths, user_features, user_rows)
        return vectors_QV

    def _encode(self, history_BLV: Tensor, lengths_B: Tensor, features: FeatureRows) -> Tensor:
        """The users' vectors, [B, V]; arguments are those of ``TwoTower.encode_users``."""
        by_member = history_BLV.view(*history_BLV.shape[:2], self._model.spec.num_members, -1).permute(2, 0, 1, 3)
        x_KBLD = torch.empty(by_member.shape, dtype=torch.float64).copy_(by_member).mul_(self._scale)
        for block in self._blocks[:-1]:
            x_KBLD = block.every_event(x_KBLD)
        last_KBD = self._blocks[-1].last_event(x_KBLD, lengths_B)
        shared_BV = self._model.shared_metadata(features)
        return self._model.join_members(
            self._model.user_tower.finish(last_KBD.unsqueeze(2), features, shared_BV).squeeze(2)
        )


@dataclass(frozen=True)
class _Map:
    """Affine maps of one input side by side. weight: [K, O, I]. bias: [K, 1, O]."""

    weight: Tensor
    bias: Tensor

    @staticmethod
    def of(*linears: MemberLinear, norm: RMSNorm | None = None) -> "_Map":
        """The maps of an input, or of one that ``norm`` has not weighted yet."""
        weight_KOI = torch.cat([linear.weight for linear in linears], dim=1)
        if norm is not None:
            weight_KOI = weight_KOI * norm.weight.unsqueeze(1)
        return _Map(weight_KOI.contiguous(), torch.cat([linear.bias for linear in linears], dim=1).unsqueeze(1))

    def outputs(self, *parts: slice) -> "_Map":
        """Some of the outputs."""
        weights, biases = [self.weight[:, part] for part in parts], [self.bias[..., part] for part in parts]
        return _Map(torch.cat(weights, dim=1), torch.cat(biases, dim=-1))

    def with_pairs(self, num_heads: int, end: int) -> "_Map":
        """The same with the two halves of each head taken in turn, in the outputs before ``end``, of several heads.

        Queries and keys change alike, so their products stay.
        """
        half = end // num_heads // 2
        order = torch.arange(end).view(num_heads, 2, half).mT.flatten()
        order = torch.cat([order, torch.arange(end, self.weight.shape[1])])
        return _Map(self.weight[:, order], self.bias[..., order])

    def __call__(self, x_KRI: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x_KRI, self.weight.mT)


@dataclass(frozen=True)
class _PreparedBlock:
    """A block's weights.

    angles: [P, 1, H / 2], as ``_angles`` returns them. maps: to queries, keys, values and gates; key_value and
    query_gate: parts of it. means: [K, 1, N, D], the weight of each moving average. shares: [K, 1, P, D], what the
    averages at an event give the running total up to it. taken: [K, 1, 1, D] by horizon, what they take of the total
    before the horizon.
    """

    num_heads: int
    angles: Tensor
    maps: _Map
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
        maps = _Map.of(block.query, block.key_value, block.attention_gate, norm=norm).with_pairs(2 * heads, 2 * dim)
        means_KND = block.averages.weight * norm.weight.unsqueeze(1)
        covered_PN = torch.minimum(torch.arange(1, len(angles_PH) + 1).unsqueeze(1), _horizons(len(angles_PH)))
        return _PreparedBlock(
            num_heads=heads,
            angles=angles_PH.unsqueeze(1),
            maps=maps,
            key_value=maps.outputs(slice(dim, 3 * dim)),
            query_gate=maps.outputs(slice(dim), slice(3 * dim, None)),
            attention_out=_Map.of(block.attention_out),
            means=means_KND.unsqueeze(1),
            shares=((1 / covered_PN.double()) @ means_KND).unsqueeze(1),
            taken=[-means_KND[:, None, [number]] / horizon for number, horizon in enumerate(HORIZONS)],
            swiglu_gate=_Map.of(block.swiglu_in, block.swiglu_gate, norm=block.swiglu_norm),
            swiglu_out=_Map.of(block.swiglu_out),
        )

    def every_event(self, x_KBLD: Tensor) -> Tensor:
        """``Block.forward`` of right-padded histories, [K, B, L, D]."""
        members, users, length, dim = x_KBLD.shape
        unit_KBLD, heads = _unit(x_KBLD), self.num_heads
        maps_KRO = self.maps(unit_KBLD.view(members, -1, dim))
        by_head = maps_KRO.view(members * users, length, 4 * heads, -1)
        query, key = _rotated(by_head[:, :, : 2 * heads], self.angles[:length]).transpose(1, 2).chunk(2, dim=1)
        value = by_head[:, :, 2 * heads : 3 * heads].transpose(1, 2)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        total_KBLD = unit_KBLD.cumsum(dim=2)
        averaged_KBLD = torch.addcmul(self.attention_out.bias.unsqueeze(1), total_KBLD, self.shares[:, :, :length])
        for horizon, taken_K11D in zip(HORIZONS, self.taken, strict=True):
            if horizon < length:
                averaged_KBLD[:, :, horizon:].addcmul_(total_KBLD[:, :, :-horizon], taken_K11D)
        x_KRD, attended_KRD, averaged_KRD = (
            part.reshape(members, -1, dim) for part in (x_KBLD, attended.transpose(1, 2), averaged_KBLD)
        )
        return self._changed(x_KRD, attended_KRD, averaged_KRD, maps_KRO[..., 3 * dim :]).view(x_KBLD.shape)

    def last_event(self, x_KBLD: Tensor, lengths_B: Tensor) -> Tensor:
        """``Block.forward`` of each history's last event, [K, B, D]. lengths_B: at least 1."""
        members, users, length, dim = x_KBLD.shape
        unit_KBLD, heads = _unit(x_KBLD), self.num_heads
        rows_B, last_B = torch.arange(users), lengths_B - 1
        x_KBD, query_gate_KBO = x_KBLD[:, rows_B, last_B], self.query_gate(unit_KBLD[:, rows_B, last_B])
        query_gate = query_gate_KBO.view(members, users, 2 * heads, -1)
        query = _rotated(query_gate[:, :, :heads], self.angles[last_B]).unsqueeze(3)
        key_value = self.key_value(unit_KBLD.view(members, -1, dim)).view(members, users, length, 2 * heads, -1)
        key = _rotated(key_value[..., :heads, :], self.angles[:length]).permute(0, 1, 3, 4, 2)
        score = (query @ key).mul_(query.shape[-1] ** -0.5)
        if (lengths_B == length).all():
            means_BNL = _last_means(length)
        else:
            event_L = torch.arange(length)
            score.masked_fill_((event_L > last_B.unsqueeze(1))[:, None, None], -torch.inf)
            means_BNL = _means_at(last_B, event_L)
        attended_KBD = (torch.softmax(score, dim=-1) @ key_value[..., heads:, :].transpose(2, 3)).reshape(x_KBD.shape)
        averaged_KBD = ((means_BNL @ unit_KBLD) * self.means).sum(dim=2).add_(self.attention_out.bias)
        return self._changed(x_KBD, attended_KBD, averaged_KBD, query_gate_KBO[..., dim:])

    def _changed(self, x_KRD: Tensor, attended_KRD: Tensor, averaged_KRD: Tensor, gate_KRD: Tensor) -> Tensor:
        """The events after attention and SwiGLU. averaged_KRD: with the bias of ``attention_out``, overwritten."""
        change_KRD = averaged_KRD.baddbmm_(attended_KRD, self.attention_out.weight.mT)
        x_KRD = torch.addcmul(x_KRD, torch.sigmoid(gate_KRD), change_KRD)
        maps, width = self.swiglu_gate(_unit(x_KRD)), self.swiglu_out.weight.shape[2]
        hidden = F.silu(maps[..., :width]).mul_(maps[..., width : 2 * width])
        return torch.addcmul(x_KRD, torch.sigmoid(maps[..., 2 * width :]), self.swiglu_out(hidden))


def _unit(x: Tensor) -> Tensor:
    """The normalised x, [..., D], without weights, in fewer passes over memory than torch's own takes."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x * length.square_().div_(x.shape[-1]).add_(torch.finfo(x.dtype).eps).rsqrt_()


def _rotated(x: Tensor, angles: Tensor) -> Tensor:
    """Rotated queries or keys, [..., A, H], whose pairs of channels are neighbours. angles: [..., 1, H / 2]."""
    return torch.view_as_real(torch.view_as_complex(x.view(*x.shape[:-1], -1, 2)) * angles).flatten(-2)


def _angles(length: int, head_dim: int) -> Tensor:
    """[P, H / 2] complex numbers that rotate pairs of channels as ``kernels.rotate`` does."""
    cos, sin = rotation(length, head_dim, torch.float64, torch.device("cpu")).chunk(2, dim=-1)
    return torch.complex(cos, sin)


def _horizons(length: int) -> Tensor:
    """[N] int64: how many events each moving average covers, of a history of this length."""
    return torch.tensor((*HORIZONS, length)).clamp(max=length)


@lru_cache(maxsize=512)
def _last_means(length: int) -> Tensor:
    """[N, L]: ``_means_at`` the last event of whole histories."""
    return _means_at(torch.tensor([length - 1]), torch.arange(length))[0]


def _means_at(last_B: Tensor, event_L: Tensor) -> Tensor:
    """[B, N, L] float64: from the events of each history to every mean at its last one."""
    distance_B1L = (last_B.unsqueeze(1) - event_L).unsqueeze(1)
    horizon_N1 = _horizons(len(event_L)).unsqueeze(1)
    is_covered_BNL = (distance_B1L >= 0) & (distance_B1L < horizon_N1)
    return is_covered_BNL.double() / torch.minimum(horizon_N1, last_B.view(-1, 1, 1) + 1)
