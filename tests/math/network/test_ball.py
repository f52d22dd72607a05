import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_math.network.ball import certify_ball
from ellq_math.network.findings import EndingReason
from ellq_math.network.knowledge import Box, InvalidInputs, Knowledge
from ellq_math.network.nodes import Activation, ActivationKind, Input, Linear, Node, Topology, Unbounded
from ellq_math.network.topology import read_graph

from .networks import Pair, forward, pruned, random_network, shapes_of

seeds = st.integers(0, 2**32 - 1)
ROUNDING = 2.0**-40
"""Of the networks' values, in relation to the largest: far above what some hundred operations on them add up to."""


@given(seeds)
def test_no_error_in_the_ball_exceeds_its_certificate(seed):
    rng = np.random.default_rng(seed)
    topology, tensors = random_network(rng)
    graph = read_graph(topology, shapes_of(tensors))
    changed = pruned(tensors, rng, share=rng.random(), moved=0.1 * rng.random())
    radius = 4 * rng.random()
    x = rng.standard_normal((12, *graph.input.shape))
    x *= radius * (1 - ROUNDING) / np.sqrt((x**2).reshape(12, -1).sum(axis=1)).reshape(-1, *(1,) * (x.ndim - 1))
    found = certify_ball(graph, Pair(tensors, changed), Knowledge(l2_radius=radius))
    certificate = found.certificate
    assert not found.endings
    assert certificate.node == graph.output
    before, after = forward(topology, tensors, x), forward(topology, changed, x)
    for effect in found.layers:
        assert_within(before[effect.node], after[effect.node], effect.error_max, effect.error_l2)
    assert_within(before[graph.output], after[graph.output], certificate.output_errors, certificate.output_error_l2)
    assert certificate.output_error_l2 <= certificate.operator_norm_product * (1 + ROUNDING)
    assert certificate.output_error_max == certificate.output_errors.max()
    assert [effect.tensor for effect in found.layers] == [step.node.operation.weight for step in graph.layers]


def assert_within(before, after, each, total):
    errors = np.abs(after - before).reshape(len(before), -1)
    noise = ROUNDING * max(1.0, np.abs(before).max(), np.abs(after).max())
    assert (errors <= each + noise).all()
    assert (np.linalg.norm(errors, axis=1) <= total + noise * errors.shape[1] ** 0.5).all()


def one_layer(rng):
    topology = Topology((Node("x", (), Input((4,))), Node("y", ("x",), Linear("w", "b"))))
    tensors = {"w": rng.standard_normal((3, 4)), "b": rng.standard_normal(3)}
    return read_graph(topology, shapes_of(tensors)), Pair(tensors, pruned(tensors, rng))


def test_one_layer_is_the_norm_of_its_change():
    """Exactly, but for what Gram iteration is above the norm: 3^(1/128)."""
    graph, tensors = one_layer(np.random.default_rng(1))
    change = tensors.after["w"] - tensors.before["w"]
    certificate = certify_ball(graph, tensors, Knowledge(l2_radius=2.0)).certificate
    norm = 2 * np.linalg.norm(change, 2)
    assert norm * (1 - ROUNDING) <= certificate.output_error_l2 <= norm * 3 ** (1 / 128) * (1 + ROUNDING)
    assert certificate.output_errors == pytest.approx(2 * np.linalg.norm(change, axis=1), rel=ROUNDING)


def test_a_box_lies_in_a_ball():
    graph, tensors = one_layer(np.random.default_rng(2))
    box = Box(np.array([-3.0, 0.0, 0.0, 0.0]), np.array([1.0, 4.0, 0.0, 12.0]))
    by_box = certify_ball(graph, tensors, Knowledge(box=box)).certificate
    by_radius = certify_ball(graph, tensors, Knowledge(l2_radius=13.0)).certificate
    both = certify_ball(graph, tensors, Knowledge(box=box, l2_radius=1.0)).certificate
    assert by_box.operator_norm_product == pytest.approx(by_radius.operator_norm_product, rel=ROUNDING)
    assert both.output_error_l2 <= by_radius.output_error_l2 / 13 * (1 + ROUNDING)


def test_a_box_of_the_wrong_length_is_refused():
    graph, tensors = one_layer(np.random.default_rng(3))
    with pytest.raises(InvalidInputs, match=r"box\.low has 3 entries; allowed is 1, or 4") as refused:
        certify_ball(graph, tensors, Knowledge(box=Box(np.zeros(3), np.ones(3))))
    assert refused.value.where == "box.low"


def test_values_behind_an_activation_are_no_larger_than_it_gives():
    """Four values of a tanh, however far the input goes: the change of a row is felt by its l_1 norm at most, here 4 x 0.5."""
    operations = Input((3,)), Linear("a"), Activation(ActivationKind.TANH), Linear("b")
    nodes = (Node(f"n{place}", (f"n{place - 1}",) if place else (), one) for place, one in enumerate(operations))
    before = {"a": np.ones((4, 3)), "b": np.ones((2, 4))}
    graph = read_graph(Topology(tuple(nodes)), shapes_of(before))
    found = certify_ball(graph, Pair(before, before | {"b": np.full((2, 4), 0.5)}), Knowledge(l2_radius=1e6))
    assert found.certificate.output_errors == pytest.approx([2, 2], rel=ROUNDING)


def test_an_unbounded_step_leaves_the_prefix_with_most_layers():
    rng = np.random.default_rng(4)
    operations = {
        "x": Input((3,)),
        "a": Linear("w"),
        "r": Activation(ActivationKind.RELU),
        "u": Unbounded("attention"),
        "b": Linear("w"),
    }
    names = list(operations)
    nodes = (Node(name, (names[place - 1],) if place else (), operations[name]) for place, name in enumerate(names))
    tensors = {"w": rng.standard_normal((3, 3))}
    graph = read_graph(Topology(tuple(nodes)), shapes_of(tensors))
    found = certify_ball(graph, Pair(tensors, pruned(tensors, rng)), Knowledge(l2_radius=1.0))
    assert found.certificate.node == "r"
    assert [(ending.node, ending.reason) for ending in found.endings] == [("u", EndingReason.UNBOUNDED)]
    assert [effect.node for effect in found.layers] == ["a"]
