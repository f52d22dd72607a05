"""Between lanes and arrays."""

from typing import Any

from llvmlite import ir
from numba import types

from ellq_kernels.cpu.jit import Typed
from ellq_kernels.cpu.lanes import I32, NUMBERS, PATTERNS, Lanes, declare, has, named, spread
from ellq_kernels.cpu.packing import store_packed
from ellq_math.sums import LANES

AHEAD = 32 * LANES
"""How far in front of the weights at work memory is fetched: the processor's own fetching ends with every page."""


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any, vector: Any) -> Any:
    """Return a pointer to sixteen entries of an array."""
    pointer = builder.gep(context.make_array(kind)(context, builder, array).data, [index])
    return builder.bitcast(pointer, vector.as_pointer())


def _load(typing: Any, array: Any, index: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = _place(context, builder, signature.args[0], given[0], given[1], context.get_value_type(signature.return_type))
        return builder.load(place, align=signature.args[0].dtype.bitwidth // 8)

    return Lanes(array.dtype)(array, types.intp), emit


def _prefetch(typing: Any, array: Any, index: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array, index = given
        place = builder.gep(context.make_array(signature.args[0])(context, builder, array).data, [index])
        ask = declare(builder, "llvm.prefetch.p0", ir.VoidType(), place.type, I32, I32, I32)
        builder.call(ask, [place, I32(0), I32(3), I32(1)])  # to read, to keep near, data
        return context.get_dummy_value()

    return types.void(array, types.intp), emit


def _load_part(typing: Any, array: Any, index: Any, count: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array, index, count = given
        vector = context.get_value_type(signature.return_type)
        inside = _first(builder, count)
        place = _place(context, builder, signature.args[0], array, index, vector)
        bits = signature.args[0].dtype.bitwidth
        kind = "f" if isinstance(signature.args[0].dtype, types.Float) else "i"
        masked = declare(builder, f"llvm.masked.load.v16{kind}{bits}.p0", vector, place.type, I32, inside.type, vector)
        return builder.call(masked, [place, I32(bits // 8), inside, ir.Constant(vector, None)])

    return Lanes(array.dtype)(array, types.intp, types.intp), emit


def _store(typing: Any, array: Any, index: Any, lanes: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array, index, lanes = given
        place = _place(context, builder, signature.args[0], array, index, lanes.type)
        builder.store(lanes, place, align=signature.args[0].dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), emit


def _store_part(typing: Any, array: Any, index: Any, lanes: Any, count: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array, index, lanes, count = given
        place = _place(context, builder, signature.args[0], array, index, lanes.type)
        bits = lanes.type.element.width
        inside = _first(builder, count)
        masked = declare(builder, f"llvm.masked.store.v16i{bits}.p0", ir.VoidType(), lanes.type, place.type, I32, inside.type)
        builder.call(masked, [lanes, place, I32(bits // 8), inside])
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes, types.intp), emit


def _store_chosen(typing: Any, array: Any, index: Any, lanes: Any, flags: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array, index, lanes, flags = given
        place = builder.gep(context.make_array(signature.args[0])(context, builder, array).data, [index])
        if has(context, "avx512f"):
            store_packed(builder, place, lanes, flags)
        else:
            name = f"llvm.masked.compressstore.v16i{signature.args[0].dtype.bitwidth}"
            builder.call(declare(builder, name, ir.VoidType(), lanes.type, place.type, flags.type), [lanes, place, flags])
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes, flags), emit


def _first(builder: Any, count: Any) -> Any:
    """Return flags of the first `count` lanes."""
    return builder.icmp_signed("<", ir.Constant(ir.VectorType(count.type, LANES), list(range(LANES))), spread(builder, count))


def _look_up(typing: Any, table: Any, indices: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, given[0]).data
        first = spread(builder, builder.ptrtoint(data, ir.IntType(64)))
        offsets = builder.shl(given[1], ir.Constant(given[1].type, [3] * LANES))
        numbers = context.get_value_type(NUMBERS)
        places = builder.inttoptr(builder.add(first, offsets), ir.VectorType(ir.PointerType(), LANES))
        everywhere = ir.Constant(ir.VectorType(ir.IntType(1), LANES), [1] * LANES)
        gather = declare(builder, "llvm.masked.gather.v16f64.v16p0", numbers, places.type, I32, everywhere.type, numbers)
        return builder.call(gather, [places, I32(8), everywhere, ir.Constant(numbers, None)])

    return NUMBERS(table, PATTERNS), emit


load = named(_load)
"""load(array, index): the sixteen entries from an index on."""

prefetch = named(_prefetch)
"""prefetch(array, index): have the memory of an entry fetched; it may lie behind the array, and nothing happens."""

load_part = named(_load_part)
"""load_part(array, index, count): the first `count` of them, and zeros; nothing behind is touched."""

store = named(_store)
"""store(array, index, lanes)."""

store_part = named(_store_part)
"""store_part(array, index, lanes, count): the first `count` of them."""

store_chosen = named(_store_chosen)
"""store_chosen(array, index, lanes, flags): integers that have a flag, side by side; the LANES places may be overwritten."""

look_up = named(_look_up)
"""look_up(table, indices): float64 from a table; indices as int64, and trusted."""
