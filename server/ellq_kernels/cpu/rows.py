"""From what was found in chunks to what that says of rows."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ellq_kernels.cpu.terms import fold_partial_sums
from ellq_kernels.cpu.weights import CpuWeights
from ellq_math.sums import CHUNK, Array, canonical_sum
from ellq_math.values import Counts, Tails


def empty_sums(weights: CpuWeights) -> tuple[Array, Array, Counts]:
    """Return room for the l_1 and squared l_2 sums and the zeros of every chunk."""
    return np.empty(weights.chunks), np.empty(weights.chunks), np.empty(weights.chunks, np.int64)


def tails_of(weights: CpuWeights, exponents: Counts, l1: Array, l2_squared: Array, zeros: Counts) -> Tails:
    """Return the tails of every row from those of its chunks."""
    return Tails(
        l1=fold_rows(weights, l1),
        l2_squared=fold_rows(weights, l2_squared),
        exponents=exponents,
        zeros=join(weights, zeros, np.add),
    )


def by_row(weights: CpuWeights, of_chunks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return what was found in every chunk by row. Shape: (..., chunks) -> (..., neurons, chunks of a row)."""
    return of_chunks.reshape(*of_chunks.shape[:-1], weights.neurons, weights.chunks // weights.neurons)


def join(weights: CpuWeights, of_chunks: npt.NDArray[Any], ufunc: np.ufunc) -> npt.NDArray[Any]:
    """Return what the chunks of every row come to together. Shape: (chunks,) -> (neurons,)."""
    parts = by_row(weights, of_chunks)
    return parts[..., 0] if parts.shape[-1] == 1 else ufunc.reduce(parts, axis=-1)  # numpy is slow where there is one


def fold_rows(weights: CpuWeights, partial_sums: Array) -> Array:
    """Return the canonical sum of every row from those of its chunks. Shape: (..., chunks) -> (..., neurons)."""
    parts = by_row(weights, partial_sums)
    each = parts.shape[-1]
    if each == 1:
        return parts[..., 0]
    if each > CHUNK:
        return canonical_sum(parts)
    sums = np.empty(parts.shape[:-1])
    fold_partial_sums(parts.reshape(-1, each), sums.reshape(-1))
    return sums
