"""Eight of sixteen lanes: what fills one 512-bit register with 64-bit numbers."""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from ellq_kernels.cpu.lanes import I32
from ellq_math.sums import LANES

HALF = LANES // 2


def half_of(builder: Any, lanes: Any, first: int) -> Any:
    """Return eight lanes."""
    return builder.shuffle_vector(lanes, lanes, ir.Constant(ir.VectorType(I32, HALF), list(range(first, first + HALF))))


def joined(builder: Any, halves: Sequence[Any]) -> Any:
    """Return sixteen lanes from two times eight."""
    return builder.shuffle_vector(*halves, ir.Constant(ir.VectorType(I32, LANES), list(range(LANES))))
