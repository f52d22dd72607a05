"""How much a layer with weights can enlarge errors. The same bits on every machine: weights are chosen by it."""

from math import prod

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
    magnitudes = np.abs(stored).reshape(*stored.shape[:2], -1)
    gains = _summed(magnitudes)
    if norm is Norm.L2 and prod(operation.stride) > 1:
        columns = np.zeros_like(gains)
        for taps in tap_classes(stored.shape[2:], operation.stride, operation.dilation):
            columns = np.maximum(columns, _summed(magnitudes[:, :, taps]))
        gains = round_up(np.sqrt(lifted(gains) * lifted(columns)), roundings=2)
    return _ungrouped(gains, operation.groups)


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
    if magnitudes.shape[-1] == 1:
        return magnitudes[..., 0]
    return at_least(canonical_sum(magnitudes), roundings=sum_roundings(magnitudes.shape[-1]))


def tap_classes(kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> list[list[int]]:
    """Return the flat indices of the taps that one and the same position can meet, for each class of positions."""
    residues = np.zeros(kernel, dtype=np.int64)
    for axis, (taps, step, spacing) in enumerate(zip(kernel, stride, dilation, strict=True)):
        along = (np.arange(taps) * spacing) % step
        residues = residues * step + along.reshape([-1 if other == axis else 1 for other in range(len(kernel))])
    flat = residues.ravel()
    return [np.flatnonzero(flat == residue).tolist() for residue in np.unique(flat)]


def _ungrouped(gains: Array, groups: int) -> Array:
    """Return (out, in) gains with zeros between groups of channels. Shape: (out, in / groups) -> (out, in)."""
    if groups == 1:
        return gains
    out, width = gains.shape
    spread = np.zeros((groups, out // groups, groups, width))
    own = np.arange(groups)
    spread[own, :, own, :] = gains.reshape(groups, out // groups, width)
    return spread.reshape(out, groups * width)
