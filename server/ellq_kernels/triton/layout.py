"""Which program does what: tables that let one launch serve a list of tensors.

A tensor's rows fall into stretches of `width` consecutive weights (the last of a row may be shorter): the chunks of the
canonical sum, or the groups of a cut. A program takes a tile of consecutive stretches, and a table tells it where they lie. All
indices are int64; nothing here is limited to 2^31 weights.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ellq_kernels.triton.weights import TritonWeights
from ellq_math.sums import CHUNK
from ellq_math.values import Counts

WIDEST = 8
"""Weights that one load may take: 16 bytes at 16 bits."""


def next_power_of_two(count: int) -> int:
    """Return the least power of two that is at least `count`."""
    return 1 << (count - 1).bit_length()


@dataclass(frozen=True)
class Span:
    """One tensor as a source of stretches."""

    source: int
    """Index of its first number, counted from the base pointer of the launch."""
    neurons: int
    fan_in: int
    width: int

    @property
    def stretches_a_row(self) -> int:
        """Stretches of one row."""
        return -(-self.fan_in // self.width)

    @property
    def stretches(self) -> int:
        """Stretches of all rows."""
        return self.neurons * self.stretches_a_row


@dataclass(frozen=True)
class Layout:
    """The table of one launch."""

    spans: Sequence[Span]
    tiles: torch.Tensor
    """(tiles, 8) int64: source, fan_in, width, stretches a row; first stretch of the tile and stretches of the tensor; places
    of the tensor's first stretch and of its first row among those of all tensors."""
    per_tile: int
    """Stretches that a program takes, a power of two."""
    alignment: int
    """Weights, a power of two up to WIDEST: every stretch starts and ends at a multiple of them."""

    @property
    def stretches(self) -> int:
        """Stretches of all tensors."""
        return sum(span.stretches for span in self.spans)

    @property
    def rows(self) -> int:
        """Rows of all tensors."""
        return sum(span.neurons for span in self.spans)

    @property
    def longest(self) -> int:
        """Most weights of any stretch."""
        return max(min(span.width, span.fan_in) for span in self.spans)


def lay_out(spans: Sequence[Span], *, per_tile: int, device: torch.device) -> Layout:
    """Return the table for these tensors."""
    tiles = tiles_of(spans, per_tile)
    stretches, rows = np.array([(span.stretches, span.neurons) for span in spans], np.int64).T
    table = np.repeat(
        [(span.source, span.fan_in, span.width, span.stretches_a_row, 0, 0, 0, 0) for span in spans], tiles, axis=0
    )
    table[:, 4] = (np.arange(len(table)) - np.repeat(tiles.cumsum() - tiles, tiles)) * per_tile
    for column, numbers in ((5, stretches), (6, stretches.cumsum() - stretches), (7, rows.cumsum() - rows)):
        table[:, column] = np.repeat(numbers, tiles)
    alignment = math.gcd(WIDEST, *(number for span in spans for number in (span.source, span.fan_in, span.width)))
    return Layout(spans=spans, tiles=torch.from_numpy(table).to(device), per_tile=per_tile, alignment=alignment)


def tiles_of(spans: Sequence[Span], per_tile: int) -> Counts:
    """Return the tiles of each tensor. Shape: (spans,) int64."""
    return np.array([-(-span.stretches // per_tile) for span in spans], np.int64)


def sources(weights: Sequence[TritonWeights]) -> list[int]:
    """Return where each tensor lies, in weights from the first: allocations apart, but one address space."""
    base, itemsize = weights[0].bits.data_ptr(), weights[0].bits.element_size()
    return [(one.bits.data_ptr() - base) // itemsize for one in weights]


def spans_of(weights: Sequence[TritonWeights], widths: Sequence[int]) -> list[Span]:
    """Return each tensor in stretches of its width."""
    return [
        Span(source, one.neurons, one.fan_in, width)
        for source, one, width in zip(sources(weights), weights, widths, strict=True)
    ]


def chunks_of(weights: Sequence[TritonWeights]) -> list[Span]:
    """Return the tensors in the chunks of the canonical sum."""
    return spans_of(weights, [CHUNK] * len(weights))
