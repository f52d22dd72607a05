"""How kernels are compiled."""

from collections.abc import Callable
from typing import Any

import triton

NO_FUSION = {"enable_fp_fusion": False}
"""For every launch: a fused multiply-add rounds once where the definitions round twice."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel, or a part of one, at its first call. Any: type checkers cannot follow what Triton makes of arguments.

    With TRITON_INTERPRET=1, read here, it is interpreted by numpy instead.
    """
    return triton.jit(function)
