"""Triton's interpreter, with bf16 as a GPU has it; for processes that set TRITON_INTERPRET=1 before they import Triton.

The interpreter keeps bf16 numbers as 16-bit integers, multiplies matrices of those as if they were integers, and rounds
to bf16 by cutting digits off.
"""

import numpy as np
import triton.language as tl
from triton.runtime import interpreter


def use_bf16() -> None:
    convert, dot = interpreter._convert_float, interpreter.InterpreterBuilder.create_dot

    def convert_float(values, source, target, rounding):
        if (source, target) != (tl.float32, tl.bfloat16):
            return convert(values, source, target, rounding)
        bits = values.view(np.uint32)
        nearest = bits + 0x7FFF + ((bits >> 16) & 1)  # ties to even
        return (nearest >> 16).astype(np.uint16)

    def create_dot(self, left, right, *rest):
        return dot(self, _wide(left), _wide(right), *rest)

    interpreter._convert_float, interpreter.InterpreterBuilder.create_dot = convert_float, create_dot


def _wide(operand):
    if operand.dtype.scalar != tl.bfloat16:
        return operand
    return interpreter.TensorHandle((operand.data.astype(np.uint32) << 16).view(np.float32), tl.float32)
