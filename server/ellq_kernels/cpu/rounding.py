"""Float64 lanes to whole numbers."""

from typing import Any

from llvmlite import ir

from ellq_kernels.cpu.halves import HALF, half_of, joined
from ellq_kernels.cpu.jit import Typed
from ellq_kernels.cpu.lanes import I32, PATTERNS, declare, has, named

EIGHT = ir.VectorType(ir.IntType(64), HALF)
UPWARDS = 10
"""How AVX-512 is told to round up, and to raise nothing."""


def _rounded_up(typing: Any, lanes: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        if has(context, "avx512dq"):
            return joined(builder, [_upwards(builder, half_of(builder, given[0], first)) for first in (0, HALF)])
        whole = builder.call(declare(builder, "llvm.ceil.v16f64", given[0].type, given[0].type), [given[0]])
        return builder.fptosi(whole, context.get_value_type(PATTERNS))

    return PATTERNS(lanes), emit


def _upwards(builder: Any, x: Any) -> Any:
    """Return eight numbers rounded by the conversion itself."""
    name, mask = "llvm.x86.avx512.mask.cvtpd2qq.512", ir.IntType(8)
    convert = declare(builder, name, EIGHT, x.type, EIGHT, mask, I32)
    return builder.call(convert, [x, ir.Constant(EIGHT, None), mask(-1), I32(UPWARDS)])


def _rounded_down(typing: Any, lanes: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.fptosi(given[0], context.get_value_type(PATTERNS))

    return PATTERNS(lanes), emit


rounded_up = named(_rounded_up)
"""The nearest whole numbers that are not below, as int64; of numbers from 0 to below 2^63."""

rounded_down = named(_rounded_down)
"""The nearest whole numbers that are not above, as int64; of numbers from 0 to below 2^63."""
