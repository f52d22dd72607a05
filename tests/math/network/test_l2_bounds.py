import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_math.network.groups import Groups
from ellq_math.network.l2_bounds import L2Bounds, added, carried_total, mixed_sums, product, sum_of, through_layer
from ellq_math.network.nodes import Add, Concat, Conv, Input, Linear, Node, Topology
from ellq_math.network.topology import read_graph

bounds = st.floats(2.0**-300, 2.0**300)
HADAMARD = np.array([[1.0]])
for _ in range(6):
    HADAMARD = np.block([[HADAMARD, HADAMARD], [HADAMARD, -HADAMARD]])
"""64 rows of +-1, orthogonal to each other."""


def step_of(operation, *shapes, tensors=None):
    """Return a step that takes inputs of these shapes."""
    inputs = [Node(f"x{place}", (), Input(shape)) for place, shape in enumerate(shapes)]
    if len(inputs) > 1:  # a network has one input: the others are values of the same one
        inputs = [inputs[0], *(Node(node.name, ("x0",), Linear("same")) for node in inputs[1:])]
    stored = {**(tensors or {}), "same": (shapes[0][0], shapes[0][0])} if len(shapes) > 1 else tensors or {}
    nodes = (*inputs, Node("y", tuple(node.name for node in inputs), operation))
    return read_graph(Topology(nodes), stored).step("y")


@given(bounds, bounds)
def test_sums_and_products_are_never_below_the_exact_ones(one, other):
    assert Fraction(sum_of(one, other)) >= Fraction(one) + Fraction(other)
    assert Fraction(product(one, other)) >= Fraction(one) * Fraction(other)
    groups = Groups(2, 1)
    each = added(L2Bounds(groups, np.array([one, 0.0]), math.inf), L2Bounds(groups, np.array([other, 0.0]), math.inf)).each
    assert Fraction(each[0]) >= Fraction(one) + Fraction(other)


@given(bounds, bounds)
def test_totals_behind_steps_of_many_inputs_are_never_below_the_exact_ones(one, other):
    def nothing(name):
        raise AssertionError(name)

    total = carried_total(step_of(Add(), (3,), (3,)), nothing, [one, other])
    assert Fraction(total) >= Fraction(one) + Fraction(other)
    total = carried_total(step_of(Concat(), (3,), (3,)), nothing, [one, other])
    assert Fraction(total) ** 2 >= Fraction(one) ** 2 + Fraction(other) ** 2


@pytest.mark.parametrize("scale", [1.0, 2.0**-9, 2.0**9])
def test_a_row_is_bounded_by_lagrange_where_one_part_is_small(scale):
    """x_1 <= 0.1, |x| <= 1: at most 0.1 + sqrt(0.99) = 1.095; the parts alone say 10.1, the total alone 1.414."""
    (found,) = mixed_sums(np.array([[1.0, 1.0]]), scale * np.array([0.1, 10.0]), scale)
    assert scale * (0.1 + math.sqrt(0.99)) <= found <= scale * 1.1


@pytest.mark.parametrize("convolution", [False, True])
def test_weighted_norms_serve_where_small_parts_are_enlarged(convolution):
    """W = H diag(100, ..., 1, ...) / 8 of 64 inputs, those of the first half at most 0.1, the others 10: ||W x|| <= 80.

    Row by row 640 is all that can be said, by the operator norm 5660; weights lose sqrt 2, powers of two for them 2 more.
    """
    enlarged = np.repeat([100.0, 1.0], 32)
    weights = HADAMARD / 8 * enlarged
    parts = np.repeat([0.1, 10.0], 32)
    if convolution:
        step, stored = step_of(Conv("w"), (64, 1), tensors={"w": (64, 64, 1)}), weights[:, :, np.newaxis]
    else:
        step, stored = step_of(Linear("w"), (64,), tensors={"w": (64, 64)}), weights
    given = L2Bounds(Groups(64, 1), parts, float(np.linalg.norm(parts)))
    total = through_layer(step, stored, given).total
    assert 80 <= total <= (2 if convolution else 1) * 80 * math.sqrt(2) * 64 ** (1 / 128) * (1 + 2.0**-40)
