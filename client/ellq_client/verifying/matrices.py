"""Tensors of a file as rows of neurons, read some rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from ellq_client.checkpoint import Checkpoint, StoredTensor
from ellq_math import measuring
from ellq_math.dtypes import WEIGHT_DTYPES, Bits, decode
from ellq_math.sums import Array
from ellq_math.values import RowStatistics, Tails

BLOCK_WEIGHTS = 1 << 21
"""Weights of a block: 16 MiB as float64, times the handful of copies that measuring makes."""


@dataclass(frozen=True)
class Matrix:
    """A tensor as neurons x fan_in. Its blocks are whole rows, so whatever is done by rows can be done by blocks."""

    tensor: StoredTensor
    neuron_axis: tuple[int, ...]

    @property
    def neurons(self) -> int:
        """Number of rows."""
        return prod(self.tensor.shape[axis] for axis in self.neuron_axis)

    @property
    def fan_in(self) -> int:
        """Length of a row."""
        return prod(self.tensor.shape) // self.neurons

    @property
    def weights(self) -> int:
        """Number of weights."""
        return prod(self.tensor.shape)

    @property
    def scale(self) -> bool:
        """Whether power sums of this dtype are scaled (see RowStatistics)."""
        return self.tensor.dtype == "F64"

    @property
    def mantissa_bits(self) -> int:
        """Stored mantissa bits of the dtype."""
        return WEIGHT_DTYPES[self.tensor.dtype].mantissa_bits

    def blocks(self, checkpoint: Checkpoint) -> Iterator[Bits]:
        """Yield the raw weights. Shape of each: (rows, fan_in), unsigned integers."""
        rows = max(1, BLOCK_WEIGHTS // self.fan_in)
        leading = self.neuron_axis == tuple(range(len(self.neuron_axis)))
        whole = None if leading else self._transposed(checkpoint)
        for first in range(0, self.neurons, rows):
            count = min(rows, self.neurons - first)
            yield self._read(checkpoint, first, count) if whole is None else whole[first : first + count]

    def magnitudes(self, checkpoint: Checkpoint) -> Iterator[Array]:
        """Yield the magnitudes of the blocks as float64; exact."""
        for bits in self.blocks(checkpoint):
            yield self.decode(bits)

    def decode(self, bits: Bits) -> Array:
        """Return the magnitudes of raw weights."""
        return np.abs(decode(bits, self.tensor.dtype))

    def stored_index(self, neuron: int, place: int) -> list[int]:
        """Return where a weight of a neuron stands in the tensor as it is stored."""
        axes = [*self.neuron_axis, *(axis for axis in range(len(self.tensor.shape)) if axis not in self.neuron_axis)]
        flat = neuron * self.fan_in + place
        index = dict(zip(axes, np.unravel_index(flat, [self.tensor.shape[axis] for axis in axes]), strict=True))
        return [int(index[axis]) for axis in range(len(axes))]

    def is_finite(self, checkpoint: Checkpoint) -> bool:
        """Return whether there is no NaN and no infinity."""
        return all(bool(np.isfinite(block).all()) for block in self.magnitudes(checkpoint))

    def measure(self, checkpoint: Checkpoint, orders: tuple[float, ...]) -> RowStatistics:
        """Return the statistics of every neuron."""
        return join_rows([measuring.measure(block, orders, scale=self.scale) for block in self.magnitudes(checkpoint)])

    def _read(self, checkpoint: Checkpoint, first: int, count: int) -> Bits:
        dtype = WEIGHT_DTYPES[self.tensor.dtype]
        row_bytes = self.fan_in * dtype.itemsize
        data = checkpoint.read(self.tensor.begin + first * row_bytes, count * row_bytes)
        return as_bits(data, dtype.bits).reshape(count, self.fan_in)

    def _transposed(self, checkpoint: Checkpoint) -> Bits:
        """Return all of the tensor with its neuron axes in front."""
        data = checkpoint.read(self.tensor.begin, self.tensor.length_bytes)
        stored = as_bits(data, WEIGHT_DTYPES[self.tensor.dtype].bits).reshape(self.tensor.shape)
        rest = [axis for axis in range(len(self.tensor.shape)) if axis not in self.neuron_axis]
        return stored.transpose(*self.neuron_axis, *rest).reshape(self.neurons, self.fan_in)


def as_bits(data: bytearray, kind: type[np.uint16] | type[np.uint32] | type[np.uint64]) -> Any:
    """Return bytes as an array of unsigned integers of one width: Bits, where the type checker sees a mixture."""
    return np.frombuffer(data, kind)


def join_rows(blocks: Sequence[RowStatistics]) -> RowStatistics:
    """Return the statistics of all rows of consecutive blocks."""
    return replace(
        blocks[0],
        sums=np.concatenate([block.sums for block in blocks]),
        exponents=np.concatenate([block.exponents for block in blocks]),
        max_magnitude=np.concatenate([block.max_magnitude for block in blocks]),
        zeros=np.concatenate([block.zeros for block in blocks]),
    )


def join_tails(blocks: Sequence[Tails]) -> Tails:
    """Return the tails of all rows of consecutive blocks."""
    return Tails(
        l1=np.concatenate([block.l1 for block in blocks]),
        l2_squared=np.concatenate([block.l2_squared for block in blocks]),
        exponents=np.concatenate([block.exponents for block in blocks]),
        zeros=np.concatenate([block.zeros for block in blocks]),
    )
