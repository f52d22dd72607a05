"""Square roots of 32-bit floats without the processor's own, which takes twenty cycles for eight of them."""

from typing import Any

from llvmlite import ir
from numba.extending import overload

from ellq_kernels.cpu.halves import HALF, half_of, joined
from ellq_kernels.cpu.jit import Typed
from ellq_kernels.cpu.lanes import NUMBERS, declare, has, named, own_root, root

EIGHT = ir.VectorType(ir.DoubleType(), HALF)


def roots_of(x: Any, keys: Any) -> Any:
    """Return the correctly rounded square roots of sixteen magnitudes; the keys tell which dtype they are of."""
    raise NotImplementedError


@overload(roots_of, strict=False, jit_options={"forceinline": True})
def _roots_of(x: Any, keys: Any) -> Any:
    if keys.element.bitwidth == 32:
        return lambda x, keys: root_of_floats(x)
    return lambda x, keys: root(x)


def _root_of_floats(typing: Any, lanes: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        if not has(context, "avx512f"):
            return own_root(builder, given[0])
        halves = [_refined(builder, half_of(builder, given[0], first)) for first in (0, HALF)]
        return joined(builder, halves)

    return NUMBERS(lanes), emit


def _refined(builder: Any, x: Any) -> Any:
    """Return the roots of eight magnitudes of finite floats, each the nearest float64.

    An estimate of the inverse, within 2^-14 on any processor, becomes one within 2^-27 together with the root (Newton's
    method). Then the root takes what is missing twice, which a fused multiply-add tells: first to within an ulp, then to within
    2^-27 of one before it is rounded. That is the nearest float64, because no root of a 24-bit number is closer than
    2^-24.5 ulp to the middle of two; powers of four change nothing, because nothing underflows.
    """
    inverse = _inverse(builder, x)
    root, half_inverse = builder.fmul(x, inverse), builder.fmul(inverse, _eight(0.5))
    missing = _fused(builder, builder.fneg(root), half_inverse, _eight(0.5))
    root, half_inverse = _fused(builder, root, missing, root), _fused(builder, half_inverse, missing, half_inverse)
    for _ in range(2):
        missing = _fused(builder, builder.fneg(root), root, x)
        root = _fused(builder, missing, half_inverse, root)
    return root


def _inverse(builder: Any, x: Any) -> Any:
    """Return estimates of one over the root, and 0 of 0."""
    positive = builder.bitcast(builder.fcmp_ordered(">", x, _eight(0.0)), ir.IntType(HALF))
    estimate = declare(builder, "llvm.x86.avx512.rsqrt14.pd.512", EIGHT, EIGHT, EIGHT, positive.type)
    return builder.call(estimate, [x, _eight(0.0), positive])


def _fused(builder: Any, left: Any, right: Any, added: Any) -> Any:
    return builder.call(declare(builder, "llvm.fma.v8f64", EIGHT, EIGHT, EIGHT, EIGHT), [left, right, added])


def _eight(number: float) -> Any:
    return ir.Constant(EIGHT, [number] * HALF)


root_of_floats = named(_root_of_floats)
"""The square root of magnitudes of finite 32-bit floats, correctly rounded."""
