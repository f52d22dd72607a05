"""How kernels are compiled."""

from collections.abc import Callable
from typing import Any

import triton

NO_FUSION = {"enable_fp_fusion": False}
"""For every launch: a fused multiply-add rounds once where the definitions round twice."""

SIZES = ["rows", "stretches", "out_stretches", "steps", "count", "nowhere", "bins"]
"""Arguments that say how much there is. Triton would compile a kernel anew where one of them is 1 or divisible by 16."""

BY_GROUP = ["wanted", "kept", "above", "ties", "ends", "end"]
"""Arrays of a number for each group, read one at a time: how they are aligned is no reason to compile a kernel anew either."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel, or a part of one, at its first call. Any: type checkers cannot follow what Triton makes of arguments.

    With TRITON_INTERPRET=1, read here, it is interpreted by numpy instead.
    """
    return triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=BY_GROUP)(function)
