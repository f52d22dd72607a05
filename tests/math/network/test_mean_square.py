import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ellq_math.network.findings import EndingReason
from ellq_math.network.knowledge import InvalidMoments, Knowledge, Moments
from ellq_math.network.mean_square import certify_mean_square
from ellq_math.network.nodes import Activation, ActivationKind, Input, Linear, Node, Topology, Unbounded
from ellq_math.network.quadratic import check_moments, quadratic_roots, row_errors
from ellq_math.network.topology import read_graph

from .moments import measured_moments, underflow
from .networks import Pair, forward, pruned, random_network, shapes_of

seeds = st.integers(0, 2**32 - 1)
ROUNDING = 2.0**-40
"""Of the networks' values, in relation to the largest: far above what some hundred operations on them add up to."""


def measured(topology, tensors, changed, x):
    """Return original values, and errors by node: (values,) root mean squares and their l_2 norm, less what may be rounding."""
    before, after = forward(topology, tensors, x), forward(topology, changed, x)
    errors = {}
    for name, values in before.items():
        squares = ((after[name] - values) ** 2).reshape(len(x), -1).mean(axis=0)
        noise = ROUNDING * max(1.0, np.abs(values).max(), np.abs(after[name]).max())
        errors[name] = np.sqrt(squares) - noise, np.sqrt(squares.sum()) - noise * len(squares) ** 0.5
    return before, errors


@pytest.mark.parametrize("matrices", [False, True])
@given(seed=seeds)
def test_no_error_exceeds_its_certificate(matrices, seed):
    rng = np.random.default_rng(seed)
    topology, tensors = random_network(rng)
    graph = read_graph(topology, shapes_of(tensors))
    changed = pruned(tensors, rng, share=rng.random(), moved=0.1 * rng.random())
    x = rng.standard_normal((12, *graph.input.shape)) * rng.random(graph.input.shape)
    values, errors = measured(topology, tensors, changed, x)
    assume(not underflow(graph, values, tensors))
    knowledge = Knowledge(moments=measured_moments(graph, values, tensors, matrices=matrices))
    found = certify_mean_square(graph, Pair(tensors, changed), knowledge)
    certificate = found.certificate
    assert not found.endings
    assert certificate is not None
    assert certificate.node == graph.output
    each, total = errors[graph.output]
    assert (each <= certificate.output_errors).all()
    assert total <= certificate.output_error_l2 <= certificate.operator_norm_product * (1 + ROUNDING)
    assert certificate.output_error_max == certificate.output_errors.max()
    for effect in found.layers:
        each, total = errors[effect.node]
        assert each.max() <= effect.error_max
        assert total <= effect.error_l2


def one_layer(rng, *, matrices):
    topology = Topology((Node("x", (), Input((5,))), Node("y", ("x",), Linear("w"))))
    tensors = {"w": rng.standard_normal((3, 5))}
    changed = pruned(tensors, rng)
    x = rng.standard_normal((40, 5)) @ rng.standard_normal((5, 5))
    graph = read_graph(topology, shapes_of(tensors))
    moments = measured_moments(graph, forward(topology, tensors, x), tensors, matrices=matrices)
    return graph, Pair(tensors, changed), Knowledge(moments=moments), x


def test_one_layer_with_the_full_matrix_is_exact():
    """Up to the moments' own slack, 4 n u times sums of five roots: square roots halve it."""
    graph, tensors, knowledge, x = one_layer(np.random.default_rng(8), matrices=True)
    change = tensors.after["w"] - tensors.before["w"]
    truth = np.sqrt(((x @ change.T) ** 2).mean(axis=0))
    certificate = certify_mean_square(graph, tensors, knowledge).certificate
    assert certificate.output_errors == pytest.approx(truth, rel=ROUNDING)
    assert certificate.output_error_l2 == pytest.approx(np.linalg.norm(truth), rel=ROUNDING)


def test_one_layer_without_the_matrix_is_minkowskis_sum():
    graph, tensors, knowledge, x = one_layer(np.random.default_rng(9), matrices=False)
    change = tensors.after["w"] - tensors.before["w"]
    sums = np.abs(change) @ np.sqrt((x**2).mean(axis=0))
    certificate = certify_mean_square(graph, tensors, knowledge).certificate
    assert (certificate.output_errors <= sums * (1 + ROUNDING)).all()


def test_an_unchanged_network_has_no_error_and_needs_no_moments():
    topology, tensors = random_network(np.random.default_rng(10), softmax=False)
    found = certify_mean_square(read_graph(topology, shapes_of(tensors)), Pair(tensors, tensors), Knowledge())
    assert found.certificate.output_error_max == found.certificate.output_error_l2 == 0


def chain(*operations):
    names = [f"n{place}" for place in range(len(operations))]
    inputs = [(), *((name,) for name in names[:-1])]
    return Topology(tuple(Node(*node) for node in zip(names, inputs, operations, strict=True)))


def test_missing_moments_end_the_certificate_but_later_layers_tell_their_own():
    rng = np.random.default_rng(11)
    topology = chain(Input((4,)), Linear("a"), Activation(ActivationKind.RELU), Linear("b"), Linear("c"))
    tensors = {name: rng.standard_normal((4, 4)) for name in "abc"}
    graph = read_graph(topology, shapes_of(tensors))
    known = measured_moments(graph, forward(topology, tensors, rng.standard_normal((9, 4))), tensors, matrices=False)
    del known["b"]
    found = certify_mean_square(graph, Pair(tensors, pruned(tensors, rng)), Knowledge(moments=known))
    assert [(ending.node, ending.reason) for ending in found.endings] == [("n3", EndingReason.NO_MOMENTS)]
    assert found.certificate.node == "n2"  # behind the first layer and its activation
    assert [(effect.node, effect.error_l2 is None) for effect in found.layers] == [("n1", False), ("n4", True)]
    assert found.layers[1].own_error_l2 > 0


def test_an_unbounded_step_ends_the_certificate():
    rng = np.random.default_rng(12)
    topology = chain(Input((4,)), Linear("a"), Unbounded("layer norm"))
    tensors = {"a": rng.standard_normal((4, 4))}
    graph = read_graph(topology, shapes_of(tensors))
    known = measured_moments(graph, forward(chain(Input((4,)), Linear("a")), tensors, np.ones((2, 4))), tensors, matrices=False)
    found = certify_mean_square(graph, Pair(tensors, pruned(tensors, rng)), Knowledge(moments=known))
    assert [(ending.node, ending.reason) for ending in found.endings] == [("n2", EndingReason.UNBOUNDED)]
    assert "layer norm" in found.endings[0].text
    assert found.certificate.node == "n1"


def test_a_bound_beyond_a_double_ends_the_certificate():
    topology = chain(Input((1,)), Linear("a"), Linear("b"))
    tensors = {"a": np.array([[1e200]]), "b": np.array([[1e200]])}
    changed = {"a": np.array([[0.0]]), "b": np.array([[1e200]])}
    known = {name: Moments(name, np.array([1.0])) for name in "ab"}
    found = certify_mean_square(read_graph(topology, shapes_of(tensors)), Pair(tensors, changed), Knowledge(moments=known))
    assert [(ending.node, ending.reason) for ending in found.endings] == [("n2", EndingReason.OVERFLOW)]
    assert found.certificate.node == "n1"


@given(seeds, st.integers(-400, 400))
def test_quadratic_forms_are_never_below_the_truth(seed, shift):
    """Whole numbers, so that the truth is exact; nearly singular matrices, so that cancellation is all there is."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 10, (3, 6)) * 1.0
    rows = rng.integers(-9, 10, (20, 6)) * 1.0
    truth = ((rows @ x.T) ** 2).sum(axis=1)
    matrix = np.ldexp(x.T @ x, 2 * (shift // 2))
    moments = Moments("w", np.diagonal(matrix).copy(), matrix[np.newaxis])
    found = row_errors(rows, moments, groups=1)
    assert (np.ldexp(found, -(shift // 2)) ** 2 >= truth * (1 - 2.0**-51)).all()


def test_inputs_that_cancel_are_no_error():
    """x_1 = -x_2: their sum is zero by the matrix, 2 without it."""
    known = Moments("w", np.ones(2), np.array([[[1.0, -1.0], [-1.0, 1.0]]]))
    assert row_errors(np.array([[1.0, 1.0], [1.0, -1.0]]), known, groups=1) == pytest.approx([0, 2], abs=2.0**-20)


def test_a_change_beyond_a_double_has_an_infinite_error():
    rows = np.array([[np.inf, 1.0], [1.0, 0.0]])
    assert quadratic_roots(rows, np.eye(2), np.array([np.inf, 1.0])).tolist() == [np.inf, pytest.approx(1)]


@pytest.mark.parametrize(
    ("second", "matrix", "message"),
    [
        ([1.0], None, "has 1 entries"),
        ([1.0, -1.0], None, r"second_moments\[1\] is -1.0"),
        ([np.nan, 1.0], None, r"second_moments\[0\] is nan"),
        ([1.0, np.inf], None, r"second_moments\[1\] is inf"),
        ([1.0, 1.0], np.ones((2, 2, 2)), "has shape"),
        ([1.0, 1.0], np.array([[[1.0, np.nan], [0.0, 1.0]]]), "NaN or infinity"),
        ([1.0, 1.0], np.array([[[1.0, 0.5], [0.25, 1.0]]]), r"not symmetric at \(0, 1\)"),
        ([1.0, 1.0], np.array([[[1.0, 1.1], [1.1, 1.0]]]), "Cauchy-Schwarz"),
        ([1.0, 1.0], np.array([[[2.0, 0.0], [0.0, 1.0]]]), r"entry \(0, 0\)"),
        ([1.0, 1.0], np.array([[[1.0, 0.0], [0.0, -1.0]]]), r"entry \(1, 1\)"),
    ],
)
def test_moments_that_no_inputs_have_are_refused(second, matrix, message):
    with pytest.raises(InvalidMoments, match=message) as refused:
        check_moments(Moments("w", np.array(second), matrix), groups=1, fan_in=2)
    assert refused.value.tensor == "w"
