"""Gains and sensitivities against what steps do: each step of random networks, at pairs of inputs."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_math.network.gains import GroupErrors, backward, forward
from ellq_math.network.groups import Groups, Norm, graph_groups, lifted, regroup, root_of_squares
from ellq_math.network.layer_gains import combine, layer_gains
from ellq_math.network.nodes import Affine, Conv, Input, Linear, Node, Softmax, Topology, Unbounded
from ellq_math.network.topology import read_graph

from . import networks
from .networks import random_network, shapes_of

seeds = st.integers(0, 2**32 - 1)
ROUNDING = 2.0**-40
"""Of the values, in relation to the largest: far above what some hundred operations on them add up to."""


def group_norms(values, groups, norm):
    """Return the norm of every group, (samples, groups.count)."""
    runs = np.abs(values).reshape(len(values), groups.count, groups.length)
    return runs.max(axis=2) if norm is Norm.SUP else np.sqrt((runs**2).sum(axis=2))


def random_steps(seed):
    """Return the steps of a random network, a source of tensors, and the values of all nodes at two inputs."""
    rng = np.random.default_rng(seed)
    topology, tensors = random_network(rng)
    graph = read_graph(topology, shapes_of(tensors))
    x = rng.standard_normal((2, *graph.input.shape))
    return graph, tensors.__getitem__, networks.forward(topology, tensors, x)


def moved(values, name):
    """Return how far a node's values move from one input to the other, and what of it may be rounding."""
    return values[name][1:] - values[name][:1], ROUNDING * max(1.0, np.abs(values[name]).max())


@pytest.mark.parametrize("norm", list(Norm))
@given(seed=seeds)
def test_no_group_moves_further_than_its_gains_allow(norm, seed):
    graph, source, values = random_steps(seed)
    groups = graph_groups(graph)
    for step in graph.steps[1:]:
        name, taken = step.node.name, step.node.inputs
        given_errors = [GroupErrors(groups[one], group_norms(moved(values, one)[0], groups[one], norm)[0]) for one in taken]
        found = forward(step, source, given_errors, norm)
        assert found.groups == groups[name]
        differences, noise = moved(values, name)
        truth = group_norms(differences, found.groups, norm)[0]
        assert (truth <= found.errors + noise * found.groups.length).all()


@pytest.mark.parametrize("norm", list(Norm))
@given(seed=seeds)
def test_no_readout_moves_further_than_its_sensitivities_allow(norm, seed):
    graph, source, values = random_steps(seed)
    groups = graph_groups(graph)
    rng = np.random.default_rng(seed)
    for step in graph.steps[1:]:
        name, taken = step.node.name, step.node.inputs
        readouts = rng.random((3, groups[name].count))
        differences, noise = moved(values, name)
        truth = readouts @ group_norms(differences, groups[name], norm)[0]
        felt = backward(step, source, [groups[one] for one in taken], readouts, norm)
        inputs = [group_norms(moved(values, one)[0], groups[one], norm)[0] for one in taken]
        allowed = sum(back @ errors for back, errors in zip(felt, inputs, strict=True))
        assert (truth <= allowed + noise * differences.size).all()


def test_a_strided_convolution_has_fewer_taps_a_column():
    """Kernel 3, stride 2, all ones: an output sees three inputs, an input two outputs at most; sqrt(3 x 2) by hand."""
    nodes = Node("x", (), Input((1, 9))), Node("y", ("x",), Conv("k", stride=(2,)))
    step = read_graph(Topology(nodes), {"k": (1, 1, 3)}).step("y")
    assert layer_gains(step, np.ones((1, 1, 3)), Groups(1, 9), Norm.SUP)[0, 0] == pytest.approx(3, rel=ROUNDING)
    assert layer_gains(step, np.ones((1, 1, 3)), Groups(1, 9), Norm.L2)[0, 0] == pytest.approx(math.sqrt(6), rel=ROUNDING)


def test_groups_of_channels_do_not_mix():
    nodes = Node("x", (), Input((4, 3))), Node("y", ("x",), Conv("k", groups=2))
    step = read_graph(Topology(nodes), {"k": (2, 2, 1)}).step("y")
    kernel = np.array([1.0, 2.0, 3.0, 4.0]).reshape(2, 2, 1)
    assert layer_gains(step, kernel, Groups(4, 3), Norm.SUP).tolist() == [[1, 2, 0, 0], [0, 0, 3, 4]]


def test_regrouping_by_hand():
    bounds = np.array([3.0, 4.0])
    assert regroup(bounds, Groups(2, 3), Groups(6, 1), Norm.L2).tolist() == [3, 3, 3, 4, 4, 4]
    assert regroup(bounds, Groups(2, 3), Groups(1, 6), Norm.SUP).tolist() == [4]
    assert regroup(bounds, Groups(2, 3), Groups(1, 6), Norm.L2) == pytest.approx([5], rel=ROUNDING)
    assert regroup(np.array([1.0, 2.0, 3.0]), Groups(3, 2), Groups(2, 3), Norm.SUP).tolist() == [2, 3]


def test_sums_neither_vanish_nor_overflow_unseen():
    """Products below the least double are still counted; what is beyond the largest is infinite; zero stays zero."""
    assert combine(np.array([[1e-300]]), np.array([1e-300]))[0] > 0
    assert combine(np.array([[1e300]]), np.array([1e300]))[0] == math.inf
    assert combine(np.array([[0.0, 1.0]]), np.array([5.0, 0.0]))[0] == 0
    assert lifted(np.array([0.0, 5e-324, 1.0])).tolist() == [0, 2.0**-500, 1]
    assert root_of_squares(np.array([3e200, 4e200])) == pytest.approx(5e200, rel=ROUNDING)
    assert root_of_squares(np.zeros(3)) == 0
    assert root_of_squares(np.array([math.inf, 1.0])) == math.inf


def test_infinity_met_by_zero_is_not_lost():
    assert combine(np.array([[0.0, 1.0]]), np.array([math.inf, 1.0]))[0] == math.inf


@given(st.floats(2.0**-300, 2.0**300), st.floats(2.0**-300, 2.0**300))
def test_no_gain_is_below_the_exact_one(one, other):
    """A factor times an error, and two taps that one position meets."""
    nodes = Node("x", (), Input((1, 9))), Node("y", ("x",), Affine((one,), (0.0,)))
    step = read_graph(Topology(nodes), {}).step("y")
    (felt,) = backward(step, {}.get, [Groups(1, 9)], np.array([[other]]), Norm.SUP)
    assert Fraction(felt[0, 0]) >= Fraction(one) * Fraction(other)
    moves = forward(step, {}.get, [GroupErrors(Groups(1, 9), np.array([other]))], Norm.SUP)
    assert Fraction(moves.errors[0]) >= Fraction(one) * Fraction(other)
    nodes = Node("x", (), Input((1, 9))), Node("y", ("x",), Conv("k"))
    step = read_graph(Topology(nodes), {"k": (1, 1, 2)}).step("y")
    (gain,) = layer_gains(step, np.array([[[one, other]]]), Groups(1, 9), Norm.SUP)[0]
    assert Fraction(gain) >= Fraction(one) + Fraction(other)


@pytest.mark.parametrize(
    ("errors", "sup", "l2"),
    [([1.0, 0.0, 0.0, 0.0], 0.25, 0.25), ([1.0, 1.0, 1.0, 1.0], 0.5, math.sqrt(0.5)), ([2.0, 0.0, 0.0, 2.0], 1.0, 1.0)],
)
def test_no_share_of_a_softmax_moves_further_than_its_jacobian_says(errors, sup, l2):
    """A quarter of the sum, half of the largest, or sqrt(1/8) of the l_2 norm."""
    nodes = Node("x", (), Input((4,))), Node("y", ("x",), Softmax())
    step, given = read_graph(Topology(nodes), {}).step("y"), GroupErrors(Groups(4, 1), np.array(errors))
    for norm, moved in ((Norm.SUP, sup), (Norm.L2, l2)):
        assert forward(step, {}.get, [given], norm).errors == pytest.approx([moved] * 4, rel=ROUNDING)
    (felt,) = backward(step, {}.get, [given.groups], np.array([errors]), Norm.SUP)
    assert felt == pytest.approx(np.full((1, 4), sum(errors) / 4), rel=ROUNDING)


def test_nothing_is_known_behind_an_unbounded_step():
    nodes = Node("x", (), Input((2,))), Node("u", ("x",), Unbounded("attention")), Node("y", ("u",), Linear("w"))
    graph = read_graph(Topology(nodes), {"w": (2, 2)})
    assert set(graph_groups(graph)) == {"x"}
    with pytest.raises(ValueError, match="'u' has no shape"):
        forward(graph.step("u"), dict[str, np.ndarray]().__getitem__, [GroupErrors(Groups(2, 1), np.ones(2))], Norm.SUP)
