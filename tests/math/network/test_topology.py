import math

import numpy as np
import pytest
from tests.math.network.networks import forward, random_network, shapes_of

from ellq_math.network.nodes import (
    Activation,
    ActivationKind,
    Add,
    Affine,
    BatchNorm,
    Concat,
    Conv,
    GlobalMean,
    Input,
    Linear,
    Node,
    Pool,
    PoolKind,
    Reshape,
    Softmax,
    Topology,
    Unbounded,
)
from ellq_math.network.topology import InvalidTopology, largest_values, read_graph, work

TENSORS = {"w": (4, 3), "b": (4,), "k": (6, 2, 3, 3), "k1": (4, 3, 5), "c": (6,), "cube": (2, 2, 2, 2, 2)}
RELU = Activation(ActivationKind.RELU)


def chain(shape, *operations, output=""):
    """Return operations one behind the other, named by their places, the input being 0."""
    nodes = [Node("0", (), Input(shape))]
    nodes += [Node(str(place), (str(place - 1),), operation) for place, operation in enumerate(operations, 1)]
    return Topology(tuple(nodes), output)


def read(*nodes, output=""):
    return read_graph(Topology(nodes, output), TENSORS)


def last_shape(shape, *operations):
    return read_graph(chain(shape, *operations), TENSORS).steps[-1].shape


@pytest.mark.parametrize(
    ("shape", "operation", "result"),
    [
        ((3,), Linear("w", "b"), (4,)),
        ((4,), Linear("w", transposed=True), (3,)),
        ((4, 7, 9), Conv("k", "c", (2, 1), (1, 0, 2, 3), (1, 2), 2), (6, 3, 10)),
        ((2, 7, 9), Conv("k"), (6, 5, 7)),
        ((3, 8), Conv("k1", padding=(2,)), (4, 8)),
        ((3, 8), Conv("k1", padding=(0, 3)), (4, 7)),
        ((2, 7, 9), Pool(PoolKind.MAX, (2,)), (2, 3, 4)),
        ((2, 7), Pool(PoolKind.MEAN, (3,), (1,), (5,)), (2, 15)),
        ((2, 7, 9), GlobalMean(), (2,)),
        ((2, 6), Reshape(), (12,)),
        ((2, 6), Reshape((3, 2, 2)), (3, 2, 2)),
        ((6, 2), BatchNorm("c", "c", 1e-5), (6, 2)),
        ((6, 2), Affine((1.0,), (0.0,) * 6), (6, 2)),
        ((6,), Softmax(), (6,)),
        ((6, 1), RELU, (6, 1)),
    ],
)
def test_shapes_of_single_steps(shape, operation, result):
    assert last_shape(shape, operation) == result


def test_shapes_are_those_that_values_have():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        topology, tensors = random_network(rng)
        graph = read_graph(topology, shapes_of(tensors))
        values = forward(topology, tensors, rng.normal(size=(2, *graph.input.shape)))
        assert {step.node.name: step.shape for step in graph.steps} == {name: one.shape[1:] for name, one in values.items()}


def test_lists_are_written_out_for_every_axis():
    graph = read_graph(chain((2, 9, 9), Conv("k", padding=(1, 2)), Pool(PoolKind.MEAN, (2,), padding=(1,))), TENSORS)
    assert graph.step("1").node.operation == Conv("k", None, (1, 1), (1, 1, 2, 2), (1, 1))
    assert graph.step("2").node.operation == Pool(PoolKind.MEAN, (2, 2), (2, 2), (1, 1, 1, 1))


@pytest.mark.parametrize(
    ("shape", "operation", "message"),
    [
        ((), RELU, "no axes"),
        ((3, 0), RELU, "1 or more along every axis"),
        ((1 << 16, (1 << 15) + 1), RELU, "more than 2147483648"),
        ((3,), Linear("absent"), "'absent' is not in the stream"),
        ((3,), Linear("b"), "allowed is a matrix"),
        ((3,), Linear("w", "c"), r"\(6,\); allowed is \(4,\)"),
        ((4,), Linear("w"), r"shape \(4,\); allowed is \(3,\)"),
        ((3, 1), Linear("w"), r"shape \(3, 1\); allowed is \(3,\)"),
        ((3,), Conv("w"), "three or four axes"),
        ((3,), Conv("cube"), "three or four axes"),
        ((3, 8, 8), Conv("k"), r"allowed is \(2, height, width\)"),
        ((2, 8), Conv("k"), r"allowed is \(2, height, width\)"),
        ((8, 9, 9), Conv("k", groups=4), "divides the 6 channels"),
        ((2, 9, 9), Conv("k", groups=-1), "groups is -1"),
        ((2, 9, 9), Conv("k", stride=(0,)), "stride is 0"),
        ((2, 9, 9), Conv("k", stride=(1, 1, 1)), "stride has 3 entries"),
        ((2, 9, 9), Conv("k", dilation=(1, 0)), "dilation is 0"),
        ((2, 9, 9), Conv("k", dilation=(5,)), "spans 11 positions of 9"),
        ((2, 9, 9), Conv("k", padding=(1, 1, 1)), "padding has 3 entries"),
        ((2, 9, 9), Conv("k", padding=(-1,)), "padding is -1"),
        ((2, 9, 9), Conv("k", padding=(1 << 31,), stride=(1 << 30,)), "padding is 2147483648"),
        ((2, 9, 9), Conv("k", "b"), r"\(4,\); allowed is \(6,\)"),
        ((2, 9), Pool(PoolKind.MEAN, (10,)), "spans 10 positions of 9"),
        ((2, 9), Pool(PoolKind.MEAN, (0,)), "kernel is 0"),
        ((2, 9), Pool(PoolKind.MEAN, ()), "kernel has 0 entries"),
        ((2, 9), Pool(PoolKind.MAX, (2,), padding=(2,)), "fills a window of 2"),
        ((2,), Pool(PoolKind.MAX, (2,)), r"\(channels, length\)"),
        ((2,), GlobalMean(), r"\(channels, ...\)"),
        ((2, 3), Reshape((5,)), "shapes of 6 values"),
        ((2, 3), Reshape((0, 6)), "shapes of 6 values"),
        ((6,), BatchNorm("c", "b", 1e-5), r"\(4,\); allowed is \(6,\)"),
        ((6,), BatchNorm("c", "w", 1e-5), r"\(channels,\)"),
        ((6,), BatchNorm("c", "c", 0.0), "epsilon is 0.0"),
        ((6,), BatchNorm("c", "c", math.nan), "epsilon is nan"),
        ((6,), Affine((1.0, 2.0)), "scale has 2 entries"),
        ((6,), Affine((), (math.inf,)), "shift holds NaN or infinity"),
        ((6, 1), Softmax(), "allowed is a vector"),
        ((6,), Activation(ActivationKind.RELU, (1.0,)), "relu comes with 1 parameters; it has 0"),
        ((6,), Activation(ActivationKind.LEAKY_RELU, (1.5,)), r"\[0, 1\]"),
        ((6,), Activation(ActivationKind.LEAKY_RELU, (math.nan,)), r"\[0, 1\]"),
        ((6,), Activation(ActivationKind.CLIP, (1.0, 0.0)), "least <= largest"),
        ((6,), Activation(ActivationKind.CLIP, (0.0, math.inf)), "both finite"),
        ((6,), Activation(ActivationKind.ELU, (0.0,)), r"\(0, 1\]"),
        ((6,), Unbounded("x" * 201), "201 characters"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(shape, operation, message):
    with pytest.raises(InvalidTopology, match=message) as refusal:
        last_shape(shape, operation)
    assert refusal.value.node in ("0", "1")


SOURCE = Node("x", (), Input((3,)))


@pytest.mark.parametrize(
    ("nodes", "output", "message"),
    [
        ((), "", "0 nodes; allowed is 1 to 10000"),
        ((SOURCE, Node("", ("x",), RELU)), "", r"nodes\[1\] has no name"),
        ((SOURCE, Node("x", ("x",), RELU)), "", "two nodes are named 'x'"),
        ((SOURCE, Node("y", ("z",), RELU)), "", "'y' takes 'z'"),
        ((SOURCE, Node("y", ("x", "x"), RELU)), "", "takes 2 inputs"),
        ((SOURCE, Node("y", ("x",), Add())), "", "two or more for add and concat"),
        ((Node("x", ("x",), Input((3,))),), "", "none for the input"),
        ((SOURCE, Node("y", (), Input((3,))), Node("z", ("x", "y"), Add())), "", "2 input nodes: 'x', 'y'"),
        ((SOURCE, Node("y", ("x",), RELU), Node("z", ("x",), RELU)), "", "2 nodes: 'y', 'z'; say which"),
        ((SOURCE,), "y", "the output is 'y'"),
        ((SOURCE, Node("y", ("x", "z"), Add()), Node("z", ("y",), RELU)), "z", "in a circle: '[yz]', '[yz]', '[yz]'"),
        ((SOURCE, Node("y", ("x",), Linear("w")), Node("z", ("x", "y"), Add())), "", r"\(3,\), \(4,\); allowed are equal"),
        ((SOURCE, Node("y", ("x",), Reshape((1, 3))), Node("z", ("x", "y"), Concat())), "", "agree beyond axis 0"),
    ],
)
def test_graphs_that_do_not_hold_together_are_refused(nodes, output, message):
    with pytest.raises(InvalidTopology, match=message):
        read(*nodes, output=output)


def test_nodes_keep_the_order_they_are_listed_in_as_far_as_it_can_be():
    graph = read(
        Node("sum", ("late", "early"), Add()),
        SOURCE,
        Node("early", ("x",), Linear("w")),
        Node("unused", ("x",), RELU),
        Node("late", ("x",), Linear("w", "b")),
        output="sum",
    )
    assert [step.node.name for step in graph.steps] == ["x", "early", "late", "sum"]
    assert [step.node.name for step in graph.layers] == ["early", "late"]
    assert graph.tensors == ("w", "b")
    assert graph.last_use == {"x": "late", "early": "sum", "late": "sum"}
    assert graph.layers_above == {"x": 0, "early": 1, "late": 1, "sum": 2}


def test_shapes_are_unknown_behind_an_unbounded_step():
    graph = read_graph(chain((3,), Unbounded("attention"), Linear("w"), RELU, Pool(PoolKind.MAX, (2,))), TENSORS)
    assert [step.shape for step in graph.steps] == [(3,), None, None, None, None]
    assert [step.fan_in for step in graph.layers] == [3]


def test_work_counts_multiplications_and_additions_of_one_pass():
    graph = read_graph(chain((4, 7, 9), Conv("k", groups=2), Pool(PoolKind.MEAN, (5, 7)), Reshape()), TENSORS)
    assert work(graph) == 4 * 7 * 9 + (6 * 5 * 7) * (2 * 3 * 3) + 6 * (5 * 7) + 6


def test_largest_values_count_padding():
    assert largest_values(read_graph(chain((2, 9, 9), Conv("k", padding=(10,), stride=(9,))), TENSORS)) == 2 * 29 * 29
    assert largest_values(read_graph(chain((3,), Linear("w")), TENSORS)) == 4
