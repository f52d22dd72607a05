"""How much a layer with weights can enlarge errors. The same bits on every machine: weights are chosen by it."""

from collections.abc import Sequence
from math import ceil, gcd, prod

import numpy as np

from ellq_math.network.groups import Groups, Norm, lifted, root_of_squares
from ellq_math.network.nodes import Conv, Linear
from ellq_math.network.topology import Step
from ellq_math.sums import LANES, Array, canonical_sum, round_up, sum_roundings

BLOCK = 1 << 20
"""Products that are held at once, beside the gains themselves."""


def layer_rows(operation: Linear | Conv, stored: Array) -> Array:
    """Return the weights with one row for each neuron. Shape: as stored -> (out, fan_in)."""
    if isinstance(operation, Linear) and operation.transposed:
        return stored.T
    return stored.reshape(len(stored), -1)


@np.errstate(over="ignore", invalid="ignore")
def layer_gains(step: Step, stored: Array, groups: Groups, norm: Norm) -> Array:
    """Return the gains of a Linear or Conv with the given weights, for inputs in the groups it takes.

    Shape: as stored -> (out, groups.count). Gains only grow with the magnitudes of the weights.
    sup: the sum of the magnitudes between output and group (one tap for each position). l2: for a Linear the norm of the block,
    for a Conv the Schur bound sqrt(largest row sum x largest column sum) of the map from one channel to another, whatever the
    padding. A column sees only taps that are a multiple of the stride apart.
    """
    operation = step.node.operation
    if isinstance(operation, Linear):
        return block_gains(layer_rows(operation, stored), groups, norm)
    if not isinstance(operation, Conv):
        raise TypeError(f"node {step.node.name!r} has no weights")
    return _ungrouped(conv_gains(operation, stored, norm), operation.groups)


@np.errstate(over="ignore", invalid="ignore")
def conv_gains(conv: Conv, stored: Array, norm: Norm) -> Array:
    """Return the gains of a Conv without the zeros between its groups. Shape: (out, in / groups, ...) -> (out, in / groups)."""
    magnitudes = np.abs(stored)
    gains = _summed(magnitudes.reshape(*stored.shape[:2], -1))
    if norm is Norm.L2 and prod(conv.stride) > 1:
        split = phases(conv, magnitudes)
        columns = _summed(split.reshape(*split.shape[:3], -1)).max(axis=2)
        gains = round_up(np.sqrt(lifted(gains) * lifted(columns)), roundings=2)
    return gains


def phases(conv: Conv, kernel: Array) -> Array:
    """Return the taps by phases: those of one meet the same positions. Phases are filled up with zeros.

    Shape: (out, in, kernel...) -> (out, in, phases, taps of a phase...).
    """
    lead, lengths = kernel.shape[:2], kernel.shape[2:]
    counts = phase_counts(conv, lengths)
    taps = [ceil(length / count) for length, count in zip(lengths, counts, strict=True)]
    filled = np.zeros((*lead, *(each * count for each, count in zip(taps, counts, strict=True))))
    filled[:, :, *map(slice, lengths)] = kernel
    split = filled.reshape(*lead, *(part for pair in zip(taps, counts, strict=True) for part in pair))
    ordered = split.transpose(0, 1, *range(3, split.ndim, 2), *range(2, split.ndim, 2))
    return ordered.reshape(*lead, prod(counts), *taps)


def phase_counts(conv: Conv, kernel: Sequence[int]) -> list[int]:
    """Return how many phases of positions the taps meet, along each axis.

    Tap t meets the positions that are dilation t modulo the stride: those of all taps a multiple of stride / gcd(stride,
    dilation) apart.
    """
    given = zip(kernel, conv.stride, conv.dilation, strict=True)
    return [min(length, stride // gcd(stride, spacing)) for length, stride, spacing in given]


def block_gains(rows: Array, groups: Groups, norm: Norm) -> Array:
    """Return the gains of a matrix: l_1 (sup) or l_2 norms of its rows' blocks. Shape: (out, values) -> (out, groups.count)."""
    magnitudes = np.abs(rows)
    if groups.length == 1:
        return magnitudes
    blocks = magnitudes.reshape(len(rows), groups.count, groups.length)
    return _summed(blocks) if norm is Norm.SUP else root_of_squares(blocks)


@np.errstate(over="ignore", invalid="ignore")
def combine(gains: Array, errors: Array) -> Array:
    """Return at least sum_i gains[o, i] errors[i]. Shape: (out, in), (in,) -> (out,)."""
    raised = lifted(errors)
    height = max(1, BLOCK // max(LANES, gains.shape[1]))
    sums = [canonical_sum(lifted(gains[row : row + height]) * raised) for row in range(0, len(gains), height)]
    return at_least(np.concatenate(sums), roundings=sum_roundings(gains.shape[1]) + 1)


def at_least(computed: Array, *, roundings: int) -> Array:
    """Return an upper bound of a non-negative number; infinity where infinity met zero."""
    raised = round_up(computed, roundings=roundings)
    return np.where(np.isnan(raised), np.inf, raised)


@np.errstate(over="ignore", invalid="ignore")
def _summed(magnitudes: Array) -> Array:
    """Return at least the sums over the last axis."""
    *lead, count = magnitudes.shape
    if count == 1:
        return magnitudes[..., 0]
    rows = magnitudes.reshape(-1, count)
    height = max(1, BLOCK // max(LANES, count))
    sums = np.concatenate([canonical_sum(rows[row : row + height]) for row in range(0, len(rows), height)])
    return at_least(sums.reshape(lead), roundings=sum_roundings(count))


def _ungrouped(gains: Array, groups: int) -> Array:
    """Return (out, in) gains with zeros between groups of channels. Shape: (out, in / groups) -> (out, in)."""
    if groups == 1:
        return gains
    out, width = gains.shape
    spread = np.zeros((groups, out // groups, groups, width))
    own = np.arange(groups)
    spread[own, :, own, :] = gains.reshape(groups, out // groups, width)
    return spread.reshape(out, groups * width)
