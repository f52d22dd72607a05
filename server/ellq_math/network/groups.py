"""Runs of consecutive values that share one bound, so that a bound of an image has as many numbers as it has channels."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import gcd, prod

import numpy as np

from ellq_math.network.nodes import Activation, Add, Concat, Input, Linear, Reshape, Softmax
from ellq_math.network.topology import Graph, Step
from ellq_math.sums import Array, canonical_sum, round_up, sum_roundings

LEAST = 2.0**-500
"""Positive numbers below are raised to this before they are multiplied: then no product or square of two underflows."""


class Norm(Enum):
    """What the bound of a group bounds."""

    SUP = "sup"
    """The largest magnitude in the group."""
    L2 = "l2"
    """The l_2 norm of the group, or its root mean square over a distribution."""


@dataclass(frozen=True)
class Groups:
    """The values of a node, row-major, cut into `count` runs of `length` consecutive ones."""

    count: int
    length: int


def channels(shape: tuple[int, ...]) -> Groups:
    """Return one group for each channel; for a vector, one for each value."""
    return Groups(shape[0], prod(shape[1:]))


def input_groups(step: Step, given: Sequence[Groups]) -> tuple[Groups, ...]:
    """Return the groups in which a step takes its inputs, which come in the `given` ones (see `regroup`)."""
    operation = step.node.operation
    if isinstance(operation, Linear | Activation | Reshape):
        return tuple(given)
    if isinstance(operation, Add | Concat):
        length = gcd(*(groups.length for groups in given))
        return tuple(Groups(groups.count * groups.length // length, length) for groups in given)
    return tuple(channels(shape) for shape in step.input_shapes if shape is not None)


def output_groups(step: Step, given: Sequence[Groups]) -> Groups:
    """Return the groups of a step's values; the step has a shape, and its inputs come in the `given` groups."""
    operation, taken = step.node.operation, input_groups(step, given)
    if isinstance(operation, Activation | Reshape | Add | Softmax):
        return taken[0]
    if isinstance(operation, Concat):
        return Groups(sum(groups.count for groups in taken), taken[0].length)
    if step.shape is None:
        raise ValueError(f"node {step.node.name!r} has no shape, hence no groups")
    return channels(step.shape)


def graph_groups(graph: Graph) -> dict[str, Groups]:
    """Return the groups of every node that does not lie behind an unbounded one."""
    found: dict[str, Groups] = {}
    for step in graph.steps:
        given = [found[name] for name in step.node.inputs if name in found]
        if isinstance(step.node.operation, Input) or (step.shape is not None and len(given) == len(step.node.inputs)):
            found[step.node.name] = output_groups(step, given)
    return found


def lifted(bounds: Array) -> Array:
    """Return bounds of which none is positive and below LEAST. Zero stays zero."""
    return np.where((bounds > 0) & (bounds < LEAST), LEAST, bounds)


def regroup(bounds: Array, old: Groups, new: Groups, norm: Norm) -> Array:
    """Return bounds of other groups of the same values. Shape: (old.count,) -> (new.count,).

    A part is bounded by its whole. A whole is bounded by the largest of its parts (sup), or the root of
    their squares' sum (l2).
    """
    if old.length == new.length:
        return bounds
    part = gcd(old.length, new.length)
    parts = np.repeat(bounds, old.length // part).reshape(new.count, new.length // part)
    if new.length == part:
        return parts[:, 0]
    return parts.max(axis=1) if norm is Norm.SUP else root_of_squares(parts)


def regroup_back(sensitivities: Array, old: Groups, new: Groups, norm: Norm) -> Array:
    """Return sensitivities to `old` groups, given those to the `new` ones they were regrouped to.

    Shape: (readouts, new.count) -> (readouts, old.count). With parts p of a whole, sum_p c_p e_p is at most
    (sum_p c_p) e (sup) or sqrt(sum_p c_p^2) e (l2, Cauchy-Schwarz); and the whole is at most the sum of its parts.
    """
    if old.length == new.length:
        return sensitivities
    part = gcd(old.length, new.length)
    parts = np.repeat(sensitivities, new.length // part, axis=1).reshape(-1, old.count, old.length // part)
    if old.length == part:
        return parts[:, :, 0]
    if norm is Norm.L2:
        return root_of_squares(parts)
    return round_up(canonical_sum(parts), roundings=sum_roundings(old.length // part))


@np.errstate(over="ignore", invalid="ignore")
def root_of_squares(bounds: Array) -> Array:
    """Return at least the l_2 norm over the last axis of non-negative bounds, with the same bits on every machine."""
    exponents = np.frexp(bounds.max(axis=-1))[1]  # scaled, so that no square overflows
    raised = lifted(np.ldexp(bounds, -exponents[..., np.newaxis]))
    roots = np.ldexp(np.sqrt(canonical_sum(raised * raised)), exponents)
    return np.nextafter(round_up(roots, roundings=sum_roundings(bounds.shape[-1]) + 2), np.where(roots > 0, np.inf, 0.0))
