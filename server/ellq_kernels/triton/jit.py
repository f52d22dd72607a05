"""How kernels are compiled, and started."""

from collections.abc import Callable
from threading import Lock
from typing import Any

import triton

SIZES = ["rows", "stretches", "out_stretches", "steps", "count", "nowhere", "bins"]
"""Arguments that say how much there is. Triton would compile a kernel anew where one of them is 1 or divisible by 16."""

BY_GROUP = ["wanted", "kept", "above", "ties", "ends", "end"]
"""Arrays of a number for each group, read one at a time: how they are aligned is no reason to compile a kernel anew either."""

_LAUNCHING = Lock()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel, or a part of one, at its first call. Any: type checkers cannot follow what Triton makes of arguments.

    With TRITON_INTERPRET=1, read here, it is interpreted by numpy instead.
    """
    return triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=BY_GROUP)(function)


def launch(function: Any, programs: tuple[int, ...], *arguments: object, **constants: object) -> None:
    """Start so many programs of a compiled function on the current stream, and do not wait for them. The only way to start one.

    Never fused: a fused multiply-add rounds once where the definitions round twice. And one thread at a time: Triton 3.7 sets
    a kernel's launcher before it has loaded the kernel, and a second thread would launch what is not there yet.
    """
    with _LAUNCHING:
        function[programs](*arguments, **constants, enable_fp_fusion=False)
