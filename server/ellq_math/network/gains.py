"""How errors travel through a step, group by group. The same bits on every machine: weights are chosen by it.

A gain g[o, i] says: if the values of input group i move by at most e_i each on its own, output group o moves by at most
sum_i g[o, i] e_i, in the norm of the groups. Everything is rounded up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ellq_math.network.factors import Source, factors
from ellq_math.network.groups import Groups, Norm, input_groups, lifted, output_groups, regroup, regroup_back, root_of_squares
from ellq_math.network.layer_gains import at_least, combine, layer_gains
from ellq_math.network.nodes import Add, Concat, Conv, Input, Linear, Reshape, Softmax, Unbounded
from ellq_math.network.topology import Step
from ellq_math.sums import Array, canonical_sum, round_up, sum_roundings


@dataclass(frozen=True)
class GroupErrors:
    """At most how far each group moves."""

    groups: Groups
    errors: Array
    """(groups.count,) float64."""


@np.errstate(over="ignore", invalid="ignore")
def forward(step: Step, source: Source, inputs: Sequence[GroupErrors], norm: Norm) -> GroupErrors:
    """Return how far the values of a step move when its inputs move by at most `inputs`; its own weights stay."""
    given = [errors.groups for errors in inputs]
    taken = input_groups(step, given)
    errors = [regroup(x.errors, x.groups, groups, norm) for x, groups in zip(inputs, taken, strict=True)]
    return GroupErrors(output_groups(step, given), _forward(step, source, errors, taken, norm))


@np.errstate(over="ignore", invalid="ignore")
def backward(step: Step, source: Source, inputs: Sequence[Groups], sensitivities: Array, norm: Norm) -> list[Array]:
    """Return how far readouts move for each unit that a group of each input moves, given the same for the step's own groups.

    Shape: (readouts, groups of the step) -> (readouts, groups of the input), one array for each input, in their order.
    """
    taken = input_groups(step, inputs)
    back = _backward(step, source, sensitivities, taken, norm)
    return [regroup_back(x, old, new, norm) for x, old, new in zip(back, inputs, taken, strict=True)]


def _forward(step: Step, source: Source, errors: list[Array], taken: tuple[Groups, ...], norm: Norm) -> Array:
    """Return the errors of a step for errors in the groups it takes."""
    operation = step.node.operation
    match operation:
        case Input():
            return np.zeros(output_groups(step, ()).count)
        case Linear() | Conv():
            return combine(layer_gains(step, source(operation.weight), taken[0], norm), errors[0])
        case Reshape():
            return errors[0]
        case Add():
            return at_least(canonical_sum(np.stack(errors, axis=-1)), roundings=sum_roundings(len(errors)))
        case Concat():
            return np.concatenate(errors)
        case Softmax():
            return np.broadcast_to(_softmax_error(errors[0], norm), taken[0].count)
        case Unbounded():
            raise TypeError(f"node {step.node.name!r} has no bound")
        case _:
            product = lifted(factors(step, source, taken[0], norm)) * lifted(errors[0])
            return at_least(product, roundings=1)


def _backward(step: Step, source: Source, sensitivities: Array, taken: tuple[Groups, ...], norm: Norm) -> list[Array]:
    """Return the sensitivities to the groups that a step takes."""
    operation = step.node.operation
    match operation:
        case Input():
            return []
        case Linear() | Conv():
            gains = layer_gains(step, source(operation.weight), taken[0], norm).T
            return [np.stack([combine(gains, readout) for readout in sensitivities])]
        case Add() | Reshape():
            return [sensitivities for _ in taken]
        case Concat():
            ends = np.cumsum([groups.count for groups in taken])
            return np.split(sensitivities, ends[:-1], axis=1)
        case Softmax():
            quarter = np.full((1, taken[0].count), 0.25)  # |p_i (1 - p_i)| and |p_i p_j|
            sums = np.stack([combine(quarter, readout) for readout in sensitivities])
            return [np.broadcast_to(sums, sensitivities.shape)]
        case Unbounded():
            raise TypeError(f"node {step.node.name!r} has no bound")
        case _:
            product = lifted(factors(step, source, taken[0], norm)) * lifted(sensitivities)
            return [at_least(product, roundings=1)]


def _softmax_error(errors: Array, norm: Norm) -> float:
    """Return how far any value of a softmax moves.

    The entries of its Jacobian are at most 1/4, the l_1 norms of its rows at most 1/2, their l_2 norms at most sqrt(1/8).
    """
    quarter = float(combine(np.full((1, len(errors)), 0.25), errors)[0])
    if norm is Norm.SUP:
        return min(quarter, float(errors.max()) / 2)
    return min(quarter, float(round_up(root_of_squares(errors) * np.sqrt(0.125), roundings=2)))
