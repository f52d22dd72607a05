"""The sixteen lanes of a canonical sum as one value, which LLVM keeps in the widest registers that a machine has.

Loops written with them need no guessing by a vectoriser, and add in the order of ellq_math.sums by construction.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from ellq_kernels.cpu.jit import Typed
from ellq_math.sums import LANES

I32 = ir.IntType(32)


class Lanes(types.Type):
    """Sixteen numbers of one type, or sixteen booleans."""

    def __init__(self, element: Any) -> None:
        self.element = element
        super().__init__(name=f"Lanes({element})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    """A plain vector; booleans are single bits."""

    def __init__(self, manager: Any, kind: Lanes) -> None:
        of_one = ir.IntType(1) if kind.element == types.boolean else manager.lookup(kind.element).get_value_type()
        super().__init__(manager, kind, ir.VectorType(of_one, LANES))


FLAGS = Lanes(types.boolean)
NUMBERS = Lanes(types.float64)
PATTERNS = Lanes(types.int64)


def spread(builder: Any, value: Any) -> Any:
    """Return a vector that holds a scalar sixteen times; a vector as it is."""
    if isinstance(value.type, ir.VectorType):
        return value
    vector = ir.VectorType(value.type, LANES)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, I32(0))
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(I32, LANES), None))


def declare(builder: Any, name: str, returned: Any, *arguments: Any) -> Any:
    """Return a function that LLVM has."""
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(returned, arguments), name)


def has(context: Any, feature: str) -> bool:
    """Return whether the machine that is compiled for has instructions of this name; avx512f: 512-bit registers."""
    *_, features = context.codegen().magic_tuple()
    return f"+{feature}" in features.split(",")


def own_root(builder: Any, lanes: Any) -> Any:
    """Return the processor's square roots."""
    return builder.call(declare(builder, "llvm.sqrt.v16f64", lanes.type, lanes.type), [lanes])


def _binary(floating: str, integer: str, returned: Any = None) -> Callable[..., Typed]:
    """Return an operation of lanes with lanes or with one number, by the builder's names for it; "" where there is none."""

    def typed(typing: Any, left: Any, right: Any) -> Typed:
        def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            name, *predicate = (floating if isinstance(left.element, types.Float) else integer).split()
            return getattr(builder, name)(*predicate, given[0], spread(builder, given[1]))

        other = right if isinstance(right, Lanes) else left.element
        return (returned or left)(left, other), emit

    return typed


def _larger(typing: Any, left: Any, right: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        other = spread(builder, given[1])
        compare = builder.icmp_signed if left.element.signed else builder.icmp_unsigned
        return builder.select(compare(">", given[0], other), given[0], other)

    return left(left, right if isinstance(right, Lanes) else left.element), emit


def _where(typing: Any, flags: Any, yes: Any, no: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.select(given[0], spread(builder, given[1]), spread(builder, given[2]))

    found = yes if isinstance(yes, Lanes) else no
    other = [kind if isinstance(kind, Lanes) else found.element for kind in (yes, no)]
    return found(flags, *other), emit


def _splat(typing: Any, value: Any) -> Typed:
    return Lanes(value)(value), lambda context, builder, signature, given: spread(builder, given[0])


def _root(typing: Any, lanes: Any) -> Typed:
    return lanes(lanes), lambda context, builder, signature, given: own_root(builder, given[0])


def _halves(builder: Any, lanes: Any, join: Callable[[Any, Any], Any]) -> Any:
    """Return the only lane left when the upper half joins the lower, again and again."""
    width = LANES
    while width > 1:
        width //= 2
        half = ir.VectorType(I32, width)
        low = builder.shuffle_vector(lanes, lanes, ir.Constant(half, list(range(width))))
        high = builder.shuffle_vector(lanes, lanes, ir.Constant(half, list(range(width, 2 * width))))
        lanes = join(low, high)
    return builder.extract_element(lanes, I32(0))


def _total(typing: Any, lanes: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _halves(builder, given[0], builder.fadd if isinstance(lanes.element, types.Float) else builder.add)

    return lanes.element(lanes), emit


def _highest(typing: Any, lanes: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        def join(low: Any, high: Any) -> Any:
            return builder.select(builder.icmp_unsigned(">", low, high), low, high)

        found = _halves(builder, given[0], join)
        return found if found.type.width == 64 else builder.zext(found, ir.IntType(64))

    return types.int64(lanes), emit


def _count(typing: Any, flags: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.zext(builder.ctpop(builder.bitcast(given[0], ir.IntType(LANES))), ir.IntType(64))

    return types.int64(flags), emit


def _pattern_of(typing: Any, flags: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.zext(builder.bitcast(given[0], ir.IntType(LANES)), ir.IntType(64))

    return types.int64(flags), emit


def _flags_of(typing: Any, pattern: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.bitcast(builder.trunc(given[0], ir.IntType(LANES)), context.get_value_type(FLAGS))

    return FLAGS(types.int64), emit


def _convert(target: Lanes, emit_for: Callable[..., Any]) -> Callable[..., Typed]:
    def typed(typing: Any, lanes: Any) -> Typed:
        def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return emit_for(builder, given[0], context.get_value_type(target))

        return target(lanes), emit

    return typed


def _widened(builder: Any, lanes: Any, target: Any) -> Any:
    return lanes if lanes.type == target else builder.zext(lanes, target)


def _floats_widened(builder: Any, lanes: Any, target: Any) -> Any:
    return builder.fpext(builder.bitcast(lanes, ir.VectorType(ir.FloatType(), LANES)), target)


def named(typed: Callable[..., Typed]) -> Callable[..., Any]:
    """Return what kernels call, from its typing."""
    return cast("Callable[..., Any]", intrinsic(typed))


splat = named(_splat)
"""One number in all lanes."""

plus = named(_binary("fadd", "add"))
minus = named(_binary("fsub", "sub"))
times = named(_binary("fmul", "mul"))
"""Lane by lane; the second may be one number for all lanes, as in all that take two."""

both = named(_binary("", "and_"))
either = named(_binary("", "or_"))
up = named(_binary("", "shl"))
down = named(_binary("", "lshr"))
"""Bits, and bits moved; the first two of flags too."""

unlike = named(_binary("", "xor"))
"""Flags: which lanes differ in theirs."""

larger = named(_larger)
root = named(_root)
"""The square root, correctly rounded."""

equal = named(_binary("fcmp_ordered ==", "icmp_unsigned ==", FLAGS))
above = named(_binary("fcmp_ordered >", "icmp_unsigned >", FLAGS))
"""Flags: whether lane by lane the first is the second, or above it. Integers must not be negative."""

where = named(_where)
"""where(flags, yes, no); one of the two may be one number."""

count = named(_count)
"""How many flags are set, as int64."""

pattern_of = named(_pattern_of)
"""Flags as the bits of an int64, the first lane's lowest."""

flags_of = named(_flags_of)
"""The flags with this pattern."""

total = named(_total)
"""The sum of the lanes, by halves as a canonical sum ends."""

highest = named(_highest)
"""The largest of unsigned integers, as int64."""

widened = named(_convert(PATTERNS, _widened))
"""Unsigned integers of any width, as int64."""

bytes_of = named(_convert(Lanes(types.uint8), _widened))
"""Flags as bytes, 1 for those that are set."""

floats_widened = named(_convert(NUMBERS, _floats_widened))
"""The float64 values of bits of 32-bit floats."""

converted = named(_convert(NUMBERS, lambda builder, lanes, target: builder.uitofp(lanes, target)))
"""The float64 nearest to unsigned integers."""

numbers_of = named(_convert(NUMBERS, lambda builder, lanes, target: builder.bitcast(lanes, target)))
"""The float64 with these bit patterns."""

patterns_of = named(_convert(PATTERNS, lambda builder, lanes, target: builder.bitcast(lanes, target)))
"""The bit patterns of float64."""
