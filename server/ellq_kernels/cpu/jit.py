"""How kernels are compiled."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ellq_kernels.cpu.caching import cached

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a kernel, or a part of one, at its first call.

    Never fastmath: reassociation and fused multiply-adds change bits. Never parallel: numba's own thread layer must not be
    entered from two Python threads at once.
    """
    return cast("Function", cached(numba.njit(nogil=True, error_model="numpy")(function)))


def part(function: Function) -> Function:
    """Compile what is always made part of the kernels that call it: lanes between functions would pass through memory."""
    return cast("Function", cached(numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)))


Typed = tuple[Any, Callable[..., Any]]
"""A numba signature, and what emits its instructions."""


def _reinterpret(signature: Any, target: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], target)

    return signature, emit


def _bits_of(typing_context: Any, value: Any) -> Typed:
    return _reinterpret(types.int64(types.float64), ir.IntType(64))


def _float_of(typing_context: Any, bits: Any) -> Typed:
    return _reinterpret(types.float64(types.int64), ir.DoubleType())


bits_of = cast("Callable[[float], int]", intrinsic(_bits_of))
"""The bit pattern of a float64, as int64."""

float_of = cast("Callable[[int], float]", intrinsic(_float_of))
"""The float64 with this bit pattern."""
