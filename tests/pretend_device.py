"""A pretend accelerator: a device that refuses and counts what a GPU would refuse or wait for.

Values are real and computed on the CPU, behind tensors that claim to be on another device. As CUDA does, an operation
refuses tensors of two devices, and a tensor there has no NumPy array. Counted are

- operations that are no views: each would be at least one kernel launch;
- waits of the host: for a value, for a size that depends on values, or for a copy that is not asynchronous;
- copies from the host. One that is asynchronous and from pinned memory is no wait.

A GPU computes some compositions as one operation. Attention and RMS normalisation are one here, too.
"""

import os
import sys
import weakref
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

ROOT = str(Path(__file__).parents[1])
NAME = "pretend"
ATEN = torch.ops.aten

WAITS = {  # for a value, or for a size that depends on values
    ATEN._local_scalar_dense, ATEN.nonzero, ATEN.masked_select, ATEN.equal, ATEN._unique2, ATEN.unique_dim,
    ATEN.unique_consecutive, ATEN.bincount,
}  # fmt: skip
INDEXING = {ATEN.index, ATEN.index_put, ATEN.index_put_, ATEN._index_put_impl_, ATEN._unsafe_index}
COPIES = {ATEN._to_copy, ATEN.copy_}
NOT_DETERMINISTIC = {ATEN.cumsum, ATEN.cumprod, ATEN.scatter_reduce, ATEN.kthvalue, ATEN.median}  # of real numbers
NO_KERNELS = {  # beside views: nothing is computed, or by the optimizer's own one kernel
    ATEN.empty, ATEN.empty_strided, ATEN.empty_like, ATEN.new_empty, ATEN.new_empty_strided, ATEN._reshape_alias,
    ATEN._unsafe_view, ATEN.lift_fresh, ATEN.detach, ATEN.is_pinned, ATEN.is_same_size, ATEN._fused_sdp_choice,
}  # fmt: skip
OVERRIDEABLE = 4  # torch.nn.attention.SDPBackend: the device's own fused attention


class PretendTensor(torch.Tensor):
    """A tensor that claims to be on the pretend device. value: what it holds, on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, value):
        return torch.Tensor._make_wrapper_subclass(
            cls, value.size(), strides=value.stride(), storage_offset=value.storage_offset(), dtype=value.dtype,
            device=torch.device(NAME, 0),
        )  # fmt: skip

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return f"PretendTensor({self.value})"

    def tolist(self):
        PretendDevice.current.waits["tolist", _line()] += 1
        return self.value.tolist()

    def numpy(self, **_):
        raise TypeError(f"can't convert {NAME} device type tensor to numpy. Use Tensor.cpu() first")

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, other):
        self.value = other.value

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return PretendDevice.current._run(function, args, kwargs or {})


class PretendDevice(TorchDispatchMode):
    """While it is entered, the pretend device exists. Counters have the operation's name and the project's line."""

    current = None

    def __init__(self):
        super().__init__()
        self.device = torch.device(NAME, 0)
        self.reset()

    def reset(self):
        """Start counting anew."""
        self.operations, self.waits, self.copies = Counter(), Counter(), Counter()

    def __enter__(self):
        PretendDevice.current = self
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(torch, "tensor", partial(self._tensor, torch.tensor))
        self._patch.setattr(torch.Tensor, "pin_memory", _pin_memory)
        for name in ("scaled_dot_product_attention", "rms_norm"):
            self._patch.setattr(F, name, partial(globals()[f"_{name}"], getattr(F, name)))
        return super().__enter__()

    def __exit__(self, *error):
        self._patch.undo()
        return super().__exit__(*error)

    def _tensor(self, make, values, *, device=None, **settings):
        """torch.tensor, which no mode sees."""
        out = make(values, **settings)
        return out if device is None else out.to(device)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return self._run(function, args, kwargs or {})

    def _run(self, function, args, kwargs):
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        here = [tensor for tensor in tensors if isinstance(tensor, PretendTensor)]
        target = kwargs.get("device")
        to_here = target is not None and torch.device(target).type == NAME
        if not here and not to_here:
            return function(*args, **kwargs)
        operation = function.overloadpacket
        if operation is ATEN._fused_sdp_choice:
            return OVERRIDEABLE
        _refuse(function, args, kwargs, here, tensors)
        self._count(function, args, kwargs, tensors)
        if to_here:
            kwargs = kwargs | {"device": torch.device("cpu")}
        values = tree_map(_value, (args, kwargs))
        out = _computed(function, *values)
        if operation in COPIES and not to_here and target is not None:  # to the CPU
            return out
        if operation is ATEN.copy_:
            return args[0]
        wrapped = tree_map(lambda leaf: PretendTensor(leaf) if isinstance(leaf, torch.Tensor) else leaf, out)
        return return_and_correct_aliasing(function, args, kwargs, wrapped) if here else wrapped

    def _count(self, function, args, kwargs, tensors):
        operation, entry = function.overloadpacket, (str(function).removeprefix("aten."), _line())
        if not (function.is_view or operation in NO_KERNELS):
            self.operations[entry] += 1
        sized_by_values = operation is ATEN.repeat_interleave and kwargs.get("output_size") is None
        if operation in WAITS or sized_by_values or (operation in INDEXING and _indexes_by_mask(args)):
            self.waits[entry] += 1
        elsewhere = [tensor for tensor in tensors if not isinstance(tensor, PretendTensor)]
        if operation in COPIES:
            source, to_host = (args[1], not isinstance(args[0], PretendTensor)) if operation is ATEN.copy_ else (
                args[0], kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu"
            )  # fmt: skip
            from_host = not isinstance(source, PretendTensor)
            is_async = kwargs.get("non_blocking") or (operation is ATEN.copy_ and len(args) > 2 and args[2])
            self.copies[entry] += from_host
            self.waits[entry] += (from_host or to_host) and not (is_async and (to_host or _is_pinned(source)))
        elif operation in INDEXING and elsewhere:  # the indices are copied, and the host waits for that
            self.copies[entry] += 1
            self.waits[entry] += 1
        self.waits, self.copies = +self.waits, +self.copies


def _refuse(function, args, kwargs, here, tensors):
    """Raise what CUDA would."""
    operation = function.overloadpacket
    elsewhere = [tensor for tensor in tensors if not isinstance(tensor, PretendTensor) and tensor.dim()]
    is_index = operation in INDEXING and isinstance(args[0], PretendTensor) and all(
        tensor.dtype in (torch.int64, torch.int32, torch.bool) for tensor in elsewhere
    )  # fmt: skip
    if here and elsewhere and operation not in COPIES and not is_index:
        shapes = [tuple(tensor.shape) for tensor in elsewhere]
        raise RuntimeError(f"{function}: expected all tensors on {NAME}, found {shapes} on the CPU at {_line()}")
    generator = kwargs.get("generator")
    if generator is not None and generator.device.type != NAME:
        raise RuntimeError(f"{function}: expected a {NAME} generator, found one on the CPU at {_line()}")
    if operation in NOT_DETERMINISTIC and here[0].is_floating_point() and torch.are_deterministic_algorithms_enabled():
        raise RuntimeError(f"{function} does not have a deterministic implementation on a GPU, at {_line()}")


def _computed(function, args, kwargs):
    """The operation on the CPU, whose fused attention has another name."""
    operation = function.overloadpacket
    if operation is ATEN._scaled_dot_product_fused_attention_overrideable:
        query, key, value, bias, dropout, is_causal = (*args, None, 0.0, False)[:6]
        out, log_sum = ATEN._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, dropout, is_causal, attn_mask=bias, scale=kwargs.get("scale")
        )
        nothing = torch.zeros((), dtype=torch.int64)
        return _events_first(out), log_sum, nothing, nothing, query.shape[2], key.shape[2], nothing, nothing, nothing
    if operation is ATEN._scaled_dot_product_fused_attention_overrideable_backward:
        grad, query, key, value, bias, _, out, log_sum = args[:8]
        dropout, is_causal = args[12:14]
        grads = ATEN._scaled_dot_product_flash_attention_for_cpu_backward(
            grad, query, key, value, out, log_sum, dropout, is_causal, attn_mask=bias, scale=kwargs.get("scale")
        )
        return *map(_events_first, grads), None
    if operation is ATEN._fused_rms_norm:
        return _fused_rms_norm(*args)
    if operation is ATEN._fused_rms_norm_backward:
        grad, x, _, inverse = args[:4]
        unit = x * inverse
        return (grad - unit * (grad * unit).mean(dim=-1, keepdim=True)) * inverse, None
    return function(*args, **kwargs)


def _events_first(x):
    """The layout that a GPU's attention returns: all heads of an event stand together."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def _fused_rms_norm(x, shape, weight, epsilon):
    inverse = (x.square().mean(dim=-1, keepdim=True) + torch.finfo(x.dtype).eps).rsqrt()
    return x * inverse, inverse


def _scaled_dot_product_attention(composite, query, key, value, attn_mask=None, is_causal=False):
    if query.device.type != NAME or attn_mask is not None:
        return composite(query, key, value, attn_mask=attn_mask, is_causal=is_causal)
    return ATEN._scaled_dot_product_fused_attention_overrideable(query, key, value, is_causal=is_causal)[0]


def _rms_norm(composite, x, shape, weight=None):
    if x.device.type != NAME or weight is not None:
        return composite(x, shape, weight)
    return ATEN._fused_rms_norm(x, shape, None, None)[0]


def _value(leaf):
    return leaf.value if isinstance(leaf, PretendTensor) else leaf


def _indexes_by_mask(args):
    """Whether a mask decides how much is indexed. One that is filled with a single value needs no size."""
    by_mask = any(isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in args[1])
    return by_mask and not (len(args) > 2 and args[2].numel() == 1)


def _line():
    """The line of the project that is running."""
    frame = sys._getframe()
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith((f"{ROOT}{os.sep}recsys", f"{ROOT}{os.sep}training")):
            return f"{os.path.relpath(name, ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "backward"


LIBRARY = torch.library.Library("aten", "IMPL")
PINNED = dict[int, weakref.ref]()  # tensors in pinned memory, by address


def _pin_memory(tensor):
    out = tensor.clone()
    PINNED[out.untyped_storage().data_ptr()] = weakref.ref(out)
    return out


def _is_pinned(tensor):
    pinned = PINNED.get(tensor.untyped_storage().data_ptr())
    return pinned is not None and pinned() is not None


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self):
        return [torch.bfloat16, torch.float16]


# While this module is imported: autograd looks for devices only once, in the first backward pass of the process.
_setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
for _name in ("_fused_rms_norm", "silu_backward"):  # else they are taken apart before they arrive here
    LIBRARY.impl(_name, lambda *_: None, "PrivateUse1")
