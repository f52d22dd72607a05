"""Keeping some of sixteen integers, on machines with 512-bit registers."""

from typing import Any

from llvmlite import ir

from ellq_kernels.cpu.halves import HALF, half_of
from ellq_kernels.cpu.lanes import I32, declare
from ellq_math.sums import LANES

I64 = ir.IntType(64)


def store_packed(builder: Any, place: Any, lanes: Any, flags: Any) -> None:
    """Store the integers that have a flag, side by side, and zeros behind them: LANES places are overwritten.

    Without a branch. Packed in registers, because packing into memory is slow, and microcode on some processors.
    """
    own = lanes.type
    if own.element.width < 32:
        whole = builder.zext(lanes, ir.VectorType(I32, LANES))
        _store(builder, builder.trunc(_packed(builder, whole, flags), own), place)
    elif own.element.width == 32:
        _store(builder, _packed(builder, lanes, flags), place)
    else:
        (low, of_low), (high, of_high) = (
            (half_of(builder, lanes, first), half_of(builder, flags, first)) for first in (0, HALF)
        )
        _store(builder, _packed(builder, low, of_low), place)
        found = builder.zext(builder.ctpop(builder.bitcast(of_low, ir.IntType(HALF))), I64)
        _store(builder, _packed(builder, high, of_high), builder.gep(place, [found]))


def _store(builder: Any, lanes: Any, place: Any) -> None:
    builder.store(lanes, builder.bitcast(place, lanes.type.as_pointer()), align=lanes.type.element.width // 8)


def _packed(builder: Any, lanes: Any, flags: Any) -> Any:
    kind = lanes.type
    name = f"llvm.x86.avx512.mask.compress.v{kind.count}i{kind.element.width}"
    return builder.call(declare(builder, name, kind, kind, kind, flags.type), [lanes, ir.Constant(kind, None), flags])
