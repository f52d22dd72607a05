"""Slices that count no references: counts are atomic, and every one costs as much as half a row of sixteen weights."""

from typing import Any

from numba import types
from numba.np.arrayobj import populate_array

from ellq_kernels.cpu.jit import Typed
from ellq_kernels.cpu.lanes import named


def _borrowed(typing: Any, array: Any, start: Any, stop: Any) -> Typed:
    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array, start, stop = given
        make = context.make_array(signature.args[0])
        whole, found = make(context, builder, array), make(context, builder)
        populate_array(
            found,
            data=builder.gep(whole.data, [start]),
            shape=[builder.sub(stop, start)],
            strides=whole.strides,
            itemsize=whole.itemsize,
            meminfo=None,
        )
        return found._getvalue()

    return array(array, types.intp, types.intp), emit


borrowed = named(_borrowed)
"""borrowed(array, start, stop): array[start:stop] of one that outlives it, 0 <= start <= stop <= its length, trusted."""
