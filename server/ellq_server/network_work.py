"""How much computing the certificate of a network will take, counted from shapes alone, before any of it is done.

The unit is a multiply-add of a large product of matrices, of which one core makes some 10^10 a second. Other work counts as
the multiply-adds that take as long. All figures: processor time of one core of an x86-64 at 10^-10 s for a multiply-add
(2026-11-23, numpy 2.4, OpenBLAS, which took 0.3 to 1.6 of these for products of 2048 to 128 rows).
"""

import math
from collections.abc import Mapping

from ellq_math.network.conv_norms import SYMBOL_WORK, symbol_work
from ellq_math.network.layers import layer_of
from ellq_math.network.nodes import Conv
from ellq_math.network.pullback import form_work
from ellq_math.network.topology import Graph, Step, values_passed, work
from ellq_math.spectral import gram_work

PASSES = 12
"""Products of the size of a forward pass in all certificates: values and errors, each as a centre and a radius, and gains."""

VALUE_WORK = 5000
"""Of each value that a step reads or gives: the intervals of a box go over it some hundred times, and wait for memory. Measured
were 1 x 10^-7 s (the input alone), 3 x 10^-7 s (gelu) and 4.6 x 10^-7 s (a convolution of one tap with padding)."""

STEP_WORK = 6_000_000
"""Of each step, however few its values are, in all grades. Measured were 5 x 10^-4 s, and 6 x 10^-4 s for softmax."""

LAYER_WORK = 100_000_000
"""Of each layer, however few its weights are, in all grades. Measured were 6 x 10^-3 s for a Linear of 2 x 2 weights and
10^-2 s for a convolution of 2 x 2 x 3 x 3."""

NORMS = 16
"""Operator norms of a layer in all certificates: of its weights before and after, and of their difference, each plain and
weighted in two ways, some of them again for the other grade; that many were counted in chains of convolutions."""


def network_work(graph: Graph, shapes: Mapping[str, tuple[int, ...]], *, has_moments: bool) -> int:
    """Return the work of all certificates, in multiply-adds that take as long; `shapes` are those of the tensors by name.

    Where neurons turn out to be dead, layers are bounded once more: up to twice as much.
    """
    steps = STEP_WORK * len(graph.steps) + LAYER_WORK * len(graph.layers)
    passes = PASSES * work(graph) + VALUE_WORK * values_passed(graph)
    norms = NORMS * sum(_norm_work(step, shapes[layer_of(step).weight]) for step in graph.layers)
    return steps + passes + norms + (form_work(graph) if has_moments else 0)


def _norm_work(step: Step, shape: tuple[int, ...]) -> int:
    """Return what one operator norm of a layer takes; `shape` is that of its weights."""
    groups = step.node.operation.groups if isinstance(step.node.operation, Conv) else 1
    symbols = symbol_work(step, shape)
    return groups * gram_work(shape[0] // groups, math.prod(shape[1:])) + (symbols if symbols <= SYMBOL_WORK else 0)
