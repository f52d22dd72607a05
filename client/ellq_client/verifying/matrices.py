"""Tensors of a file as rows of neurons, read some rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from ellq.v1.safetensors import COMPRESSIBLE_DTYPES, FLOAT8
from ellq_client.checkpoint import Checkpoint
from ellq_client.headers import StoredTensor
from ellq_client.verifying.factors import Factor
from ellq_math import measuring
from ellq_math.dtypes import WEIGHT_DTYPES, Bits, decode
from ellq_math.float8 import values, wide_dtype
from ellq_math.sums import Array
from ellq_math.values import RowStatistics, Tails

AnyBits: TypeAlias = Bits | npt.NDArray[np.uint8]
"""Weights as they are stored."""

AnyKind: TypeAlias = type[np.uint8] | type[np.uint16] | type[np.uint32] | type[np.uint64]

BLOCK_WEIGHTS = 1 << 21
"""Weights of a block: 16 MiB as float64, times the handful of copies that measuring makes."""


@dataclass(frozen=True)
class Matrix:
    """A tensor as neurons x fan_in. Its blocks are whole rows, so whatever is done by rows can be done by blocks."""

    tensor: StoredTensor
    neuron_axis: tuple[int, ...]
    factor: Factor | None = field(default=None, kw_only=True)
    """What 8-bit weights are multiplied by; None: they are worth what is stored."""

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
        return self.wide_dtype == "F64"

    @property
    def mantissa_bits(self) -> int:
        """Stored mantissa bits of the dtype."""
        return WEIGHT_DTYPES[self.wide_dtype].mantissa_bits

    @property
    def wide_dtype(self) -> str:
        """The dtype in which the weights are counted: their own, or for 8 bits one that holds their real values."""
        dtype = self.tensor.dtype
        return wide_dtype(scaled=self.factor is not None) if dtype in FLOAT8 else dtype

    def blocks(self, checkpoint: Checkpoint) -> Iterator[AnyBits]:
        """Yield the raw weights. Shape of each: (rows, fan_in), unsigned integers."""
        rows = max(1, BLOCK_WEIGHTS // self.fan_in)
        leading = self.neuron_axis == tuple(range(len(self.neuron_axis)))
        whole = None if leading else self._transposed(checkpoint)
        for first in range(0, self.neurons, rows):
            count = min(rows, self.neurons - first)
            yield self._read(checkpoint, first, count) if whole is None else whole[first : first + count]

    def magnitudes(self, checkpoint: Checkpoint) -> Iterator[Array]:
        """Yield the magnitudes of the blocks as float64; exact."""
        return (np.abs(block) for block in self.numbers(checkpoint))

    def numbers(self, checkpoint: Checkpoint) -> Iterator[Array]:
        """Yield the real values of the blocks as float64; exact."""
        first = 0
        for bits in self.blocks(checkpoint):
            yield self.decode(bits, first)
            first += len(bits)

    def decode(self, bits: AnyBits, first: int) -> Array:
        """Return the real values of raw weights, of rows from `first` on."""
        dtype, fan_in = self.tensor.dtype, self.fan_in
        if dtype not in FLOAT8:
            return decode(cast("Bits", bits), dtype)
        stored = values(dtype)[bits]
        if self.factor is None:
            return stored
        return stored * self.factor.over(self.tensor.shape, self._axes, first * fan_in, bits.size).reshape(bits.shape)

    def stored_index(self, neuron: int, place: int) -> list[int]:
        """Return where a weight of a neuron stands in the tensor as it is stored."""
        axes = self._axes
        flat = neuron * self.fan_in + place
        index = dict(zip(axes, np.unravel_index(flat, [self.tensor.shape[axis] for axis in axes]), strict=True))
        return [int(index[axis]) for axis in range(len(axes))]

    def is_finite(self, checkpoint: Checkpoint) -> bool:
        """Return whether there is no NaN and no infinity."""
        return all(bool(np.isfinite(block).all()) for block in self.magnitudes(checkpoint))

    def measure(self, checkpoint: Checkpoint, orders: tuple[float, ...]) -> RowStatistics:
        """Return the statistics of every neuron."""
        return join_rows([measuring.measure(block, orders, scale=self.scale) for block in self.magnitudes(checkpoint)])

    @property
    def _axes(self) -> list[int]:
        """All axes, those that number the neurons in front."""
        return [*self.neuron_axis, *(axis for axis in range(len(self.tensor.shape)) if axis not in self.neuron_axis)]

    def _read(self, checkpoint: Checkpoint, first: int, count: int) -> AnyBits:
        kind = bits_of(self.tensor.dtype)
        row_bytes = self.fan_in * np.dtype(kind).itemsize
        data = checkpoint.read(self.tensor.begin + first * row_bytes, count * row_bytes)
        return as_bits(data, kind).reshape(count, self.fan_in)

    def _transposed(self, checkpoint: Checkpoint) -> AnyBits:
        """Return all of the tensor with its neuron axes in front."""
        data = checkpoint.read(self.tensor.begin, self.tensor.length_bytes)
        stored = as_bits(data, bits_of(self.tensor.dtype)).reshape(self.tensor.shape)
        return stored.transpose(self._axes).reshape(self.neurons, self.fan_in)


def is_compressible(tensor: StoredTensor) -> bool:
    """Return whether weights of this dtype and shape can be cut at all."""
    return tensor.dtype in COMPRESSIBLE_DTYPES and len(tensor.shape) > 1


def bits_of(dtype: str) -> AnyKind:
    """Return the unsigned integer as wide as a weight."""
    return np.uint8 if dtype in FLOAT8 else WEIGHT_DTYPES[dtype].bits


def as_bits(data: bytearray, kind: AnyKind) -> Any:
    """Return bytes as an array of unsigned integers of one width: AnyBits, where the type checker sees a mixture."""
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
