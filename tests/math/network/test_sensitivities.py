import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from tests.math.network.knowing import moments_of
from tests.math.network.networks import Pair, forward, pruned, random_network, shapes_of

from ellq_math.grades import Grade
from ellq_math.network.budget import cost_scales
from ellq_math.network.knowledge import Box, InvalidInputs, Knowledge
from ellq_math.network.layer_gains import layer_rows
from ellq_math.network.nodes import Activation, ActivationKind, Conv, Input, Linear, Node, Reshape, Softmax, Topology, Unbounded
from ellq_math.network.sensitivities import Unreachable, input_bounds, sensitivities
from ellq_math.network.topology import read_graph
from ellq_math.network.weighing import weigh

SEEDS = range(40)
LOW, HIGH = -0.75, 1.25

SLACK = 1 + 2.0**-40
"""More than the roundings of these small networks, which are fewer than 2^11 and paid for twice."""


def samples(topology, rng):
    """Return inputs in the box [LOW, HIGH], half of them corners."""
    shape = (40, *topology.nodes[0].operation.shape)
    return np.where(
        rng.random(shape[:1] + (1,) * (len(shape) - 1)) < 0.5, rng.choice([LOW, HIGH], shape), rng.uniform(LOW, HIGH, shape)
    )


def cost_of_change(graph, pair, knowledge, grade):
    """Return the exact sum of the costs of all weights that were cut."""
    total = Fraction(0)
    names = {step.node.operation.weight for step in graph.layers}
    for name, scales in cost_scales(graph, pair, knowledge, grade=grade, names=names).items():
        layer = next(step.node.operation for step in graph.layers if step.node.operation.weight == name)
        cut = layer_rows(layer, np.abs(pair.original(name) - pair.changed(name)))
        total += sum(map(Fraction, weigh(cut, scales.rows, scales.columns).ravel().tolist()))
    return total


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("grade", [Grade.BOX, Grade.MEAN_SQUARE])
def test_costs_cover_what_the_outputs_really_do(seed, grade):
    rng = np.random.default_rng(seed)
    topology, tensors = random_network(rng)
    graph = read_graph(topology, shapes_of(tensors))
    pair = Pair(tensors, pruned(tensors, rng, share=rng.choice([0.05, 0.5, 0.95])))
    x = samples(topology, rng)
    knowledge = Knowledge(box=Box(np.array([LOW]), np.array([HIGH])), moments=moments_of(topology, tensors, x))
    moved = np.abs(forward(topology, pair.after, x)[graph.output] - forward(topology, tensors, x)[graph.output])
    worst = moved.max() if grade is Grade.BOX else np.sqrt((moved**2).mean(axis=0)).max()
    assert worst <= cost_of_change(graph, pair, knowledge, grade)


@pytest.mark.parametrize("seed", SEEDS)
def test_input_bounds_cover_what_weights_meet_in_the_box(seed):
    rng = np.random.default_rng(seed)
    topology, tensors = random_network(rng)
    graph = read_graph(topology, shapes_of(tensors))
    bounds = input_bounds(graph, Pair(tensors, tensors), Box(np.array([LOW]), np.array([HIGH])))
    values = forward(topology, tensors, samples(topology, rng))
    for step in graph.layers:
        layer = step.node.operation
        taken = np.abs(values[step.node.inputs[0]]).max(axis=0)
        seen = taken.reshape(len(taken), -1).max(axis=1)
        taps = 1 if isinstance(layer, Linear) else math.prod(tensors[layer.weight].shape[2:])
        assert (np.repeat(seen, taps) <= bounds[layer.weight]).all()


def chain(*widths, kind=ActivationKind.IDENTITY):
    """Return a plain network without biases and its tensors, seeded."""
    rng = np.random.default_rng(len(widths))
    nodes, tensors = [Node("in", (), Input((widths[0],)))], {}
    for place, (fan_in, neurons) in enumerate(pairwise(widths)):
        tensors[f"w{place}"] = rng.normal(size=(neurons, fan_in))
        nodes.append(Node(f"layer{place}", (nodes[-1].name,), Linear(f"w{place}")))
        nodes.append(Node(f"act{place}", (nodes[-1].name,), Activation(kind)))
    return Topology(tuple(nodes)), tensors


def found_in(topology, tensors, grade=Grade.BOX):
    return sensitivities(read_graph(topology, shapes_of(tensors)), Pair(tensors, tensors), grade)


@pytest.mark.parametrize("grade", [Grade.BOX, Grade.MEAN_SQUARE])
def test_the_largest_readout_decides(grade):
    topology, tensors = chain(3, 5, 4)
    found = found_in(topology, tensors, grade)
    for name, expected in (("w1", np.ones(4)), ("w0", np.abs(tensors["w1"]).max(axis=0))):
        assert (expected <= found[name]).all()
        assert (found[name] <= expected * SLACK).all()


def test_beyond_the_most_readouts_their_sum_stands_for_all():
    topology, tensors = chain(3, 5, 65)
    expected = np.abs(tensors["w1"]).sum(axis=0)
    found = found_in(topology, tensors)["w0"]
    assert (expected <= found * SLACK).all()
    assert (found <= expected * SLACK).all()


def test_a_tensor_that_two_nodes_use_counts_twice():
    topology, tensors = chain(4, 4, 4)
    twice = tensors["w1"]
    apart = found_in(topology, {"w0": twice, "w1": twice})
    nodes = [replace(node, operation=Linear("w1")) if node.name == "layer0" else node for node in topology.nodes]
    together = found_in(Topology(tuple(nodes)), {"w1": twice})
    assert (together["w1"] >= apart["w0"] + apart["w1"]).all()
    assert (together["w1"] <= (apart["w0"] + apart["w1"]) * SLACK).all()


def test_a_tensor_that_two_nodes_use_meets_the_larger_inputs():
    nodes = [Node("in", (), Input((1,)))]
    nodes += [Node(name, (before,), Linear("w", "b")) for before, name in (("in", "first"), ("first", "second"))]
    tensors = {"w": np.array([[0.25]]), "b": np.zeros(1)}
    graph = read_graph(Topology(tuple(nodes)), shapes_of(tensors))
    assert input_bounds(graph, Pair(tensors, tensors), Box(np.zeros(1), np.ones(1)))["w"] == [1.0]


def test_a_softmax_gives_something_for_nothing():
    nodes = (Node("in", (), Input((2,))), Node("soft", ("in",), Softmax()), Node("out", ("soft",), Linear("w")))
    graph = read_graph(Topology(nodes), {"w": (1, 2)})
    pair = Pair({"w": np.ones((1, 2))}, {})
    assert (input_bounds(graph, pair, Box(np.zeros(1), np.zeros(1)))["w"] >= 0.5).all()


def test_a_mean_square_error_at_one_position_counts_for_all_positions():
    nodes = (
        Node("in", (), Input((1, 6))),
        Node("conv", ("in",), Conv("kernel")),
        Node("flat", ("conv",), Reshape()),
        Node("out", ("flat",), Linear("w")),
    )
    tensors = {"kernel": np.ones((1, 1, 3)), "w": np.array([[1.0, 2.0, 3.0, 4.0]])}
    expected = math.sqrt(4) * math.sqrt(1 + 4 + 9 + 16)  # positions, then Cauchy-Schwarz over the block
    (found,) = found_in(Topology(nodes), tensors, Grade.MEAN_SQUARE)["kernel"]
    assert expected <= found <= expected * SLACK


def test_a_step_without_a_bound_is_named():
    nodes = (
        Node("in", (), Input((2,))),
        Node("layer", ("in",), Linear("w")),
        Node("attention", ("layer",), Unbounded("softmax attention")),
    )
    with pytest.raises(Unreachable, match="softmax attention at node 'attention'") as error:
        found_in(Topology(nodes), {"w": np.ones((2, 2))})
    assert error.value.node == "attention"


def test_a_bound_beyond_all_doubles_is_named():
    topology, tensors = chain(2, 2, 2, 2)
    huge = {name: np.full((2, 2), 1e200) for name in tensors}
    with pytest.raises(Unreachable, match="range of a double at node 'layer1'"):
        found_in(topology, huge)
    with pytest.raises(Unreachable, match="range of a double at node 'layer1'"):
        input_bounds(read_graph(topology, shapes_of(huge)), Pair(huge, huge), Box(np.zeros(1), np.ones(1)))


def test_a_tensor_seen_in_two_layouts_has_no_costs():
    topology, tensors = chain(3, 3, 3)
    nodes = [replace(one, operation=Linear("w0", transposed=True)) if one.name == "layer1" else one for one in topology.nodes]
    with pytest.raises(Unreachable, match="'w0' in different layouts"):
        found_in(Topology(tuple(nodes)), tensors)


def test_a_box_of_the_wrong_length_is_refused():
    topology, tensors = chain(3, 3)
    graph = read_graph(topology, shapes_of(tensors))
    with pytest.raises(InvalidInputs, match=r"box\.high has 2 entries; allowed is 1, or 3"):
        input_bounds(graph, Pair(tensors, tensors), Box(np.zeros(1), np.ones(2)))
