"""The arrays and weights of a bundle: views of its bytes, of no other type and shape than the rest of it implies."""

import io
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, TypeAdapter

from ..data import Int64
from ..errors import InputError
from ..item_item import Entries
from ..model import TwoTower
from . import format_6
from .contents import Bytes, Contents

LARGEST = 1e15  # of a vector's numbers, so that every score is finite
MAX_ENTRIES = 1 << 40
MAX_NPY_HEADER, MAX_WEIGHTS_HEADER = 4096, 1 << 24  # bytes


class _Tensor(BaseModel, strict=True, extra="forbid"):
    """How a safetensors header describes one tensor. data_offsets: where its bytes begin and end after the header."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


_HEADER = TypeAdapter(dict[str, _Tensor])


def read_array(content: Bytes, dtype: type[np.generic], shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
    """View an .npy file that must hold an array of this type and shape."""
    file = io.BytesIO(content[:MAX_NPY_HEADER].tobytes())
    if np.lib.format.read_magic(file) != (1, 0):
        raise InputError("it is no .npy file of version 1.0")
    stored, is_fortran, stored_dtype = np.lib.format.read_array_header_1_0(file)
    if (stored, is_fortran, stored_dtype) != (shape, False, np.dtype(dtype)):
        raise InputError(f"it holds {stored_dtype} {stored}, expected {np.dtype(dtype)} {shape}")
    if len(content) != file.tell() + prod(shape) * stored_dtype.itemsize:
        raise InputError("its header does not fit its size")
    return content[file.tell() :].view(dtype).reshape(shape)


def read_vectors(content: Bytes, num_items: int, width: int) -> npt.NDArray[np.float32]:
    """The item vectors, [num_items + 1, width]; all numbers are finite."""
    vectors = np.asarray(read_array(content, np.float32, (num_items + 1, width)), np.float32)
    if not within(vectors, -LARGEST, LARGEST):
        raise InputError("a vector is not finite, or far too long")
    return vectors


def read_counts(contents: Contents, num_items: int) -> Int64:
    """The training events by catalogue position, [num_items + 1]."""
    with contents.member("counts.npy") as content:
        counts = np.asarray(read_array(content, np.int64, (num_items + 1,)), np.int64)
        if counts[0] or not within(counts, 0, 2**63) or counts.sum(dtype=np.float64) >= 2**62:
            raise InputError("an item has fewer than 0 events, or more than there can be")
    return counts


def read_entries(contents: Contents, num_items: int) -> Entries:
    """The matrix of an item-item model, [num_items + 1, num_items + 1]; row and column 0 are empty."""
    with contents.member("offsets.npy") as content:
        offsets = np.asarray(read_array(content, np.int64, (num_items + 2,)), np.int64)
        if offsets[0] or offsets[1] or (np.diff(offsets) < 0).any() or offsets[-1] > MAX_ENTRIES:
            raise InputError("its rows are out of order, or row 0 is not empty")
    with contents.member("neighbours.npy") as content:
        neighbours = np.asarray(read_array(content, np.int32, (int(offsets[-1]),)), np.int32)
        ascends = np.diff(neighbours) > 0
        ascends[offsets[1:-1][(offsets[1:-1] > 0) & (offsets[1:-1] < offsets[-1])] - 1] = True  # a new row
        if not within(neighbours, 1, num_items) or not ascends.all():
            raise InputError("an entry is no item, or is out of order in its row")
    with contents.member("weights.npy") as content:
        weights = np.asarray(read_array(content, np.float32, (int(offsets[-1]),)), np.float32)
        if not within(weights, -LARGEST, LARGEST):
            raise InputError("a weight is not finite, or far too large")
    return Entries(offsets, neighbours, weights)


def load_weights(model: TwoTower, content: Bytes) -> None:
    """Give a model without weights (on torch's "meta" device) those of a safetensors file, as views of its bytes.

    Those of a bundle of format 6 are put together, and so copied.
    """
    (header_size,) = content[:8].view("<u8").tolist()
    if header_size > min(len(content) - 8, MAX_WEIGHTS_HEADER):
        raise InputError("its header does not fit its size")
    stored, data = _HEADER.validate_json(content[8 : 8 + header_size].tobytes()), content[8 + header_size :]
    expected, num_members = model.state_dict(), model.spec.num_members
    names, former = list(expected), format_6.apart(expected, num_members)
    if is_former := set(stored) == set(former):
        expected = former
    elif set(stored) != set(expected):
        foreign = sorted(set(stored) ^ set(expected))
        raise InputError(f"model.json implies other weights, of which {foreign[0]!r} is one")
    weights, end = {}, 0
    for name, tensor in sorted(stored.items(), key=lambda entry: entry[1].data_offsets):
        shape = tuple(expected[name].shape)
        start, end = end, end + 4 * prod(shape)
        if (tensor.dtype, tuple(tensor.shape), tensor.data_offsets) != ("F32", shape, (start, end)):
            raise InputError(f"{name!r} is {tensor.dtype} {tensor.shape}, expected F32 {list(shape)} without a gap")
        array = data[start:end].view(np.float32).reshape(shape)
        if not within(array, -LARGEST, LARGEST):
            raise InputError(f"{name!r} is not finite, or far too large")
        weights[name] = torch.from_numpy(array)
    if end != len(data):
        raise InputError("it goes on after its last weight")
    model.load_state_dict(format_6.together(weights, names, num_members) if is_former else weights, assign=True)


def within(numbers: npt.NDArray[np.generic], least: float, largest: float) -> bool:
    """Whether all numbers are between two bounds; NaN is not."""
    return not numbers.size or bool(numbers.min() >= least and numbers.max() <= largest)
