from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from tests.math.network.networks import ACTIVATIONS, forward, pruned, random_network, shapes_of

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
    Topology,
    Unbounded,
)
from ellq_math.network.shrinking import shrink
from ellq_math.network.topology import read_graph

RELU = Activation(ActivationKind.RELU)
EXACT = (
    Activation(ActivationKind.IDENTITY),
    RELU,
    Activation(ActivationKind.CLIP, (-0.5, 1.25)),
    Activation(ActivationKind.LEAKY_RELU, (0.5,)),
)
"""Activations that do not round dyadic numbers."""


def exact_network(seed):
    """Return a pruned network and inputs in whose arithmetic nothing rounds: few bits everywhere, and no division but by 2.

    None where a mean over positions is in the way.
    """
    rng = np.random.default_rng(seed)
    topology, tensors = random_network(rng, steps=4, activations=EXACT, softmax=False)
    tensors = {name: np.clip(np.round(2 * tensor), -4, 4) / 2 for name, tensor in pruned(tensors, rng, share=0.75).items()}
    nodes = []
    for node in topology.nodes:
        operation = node.operation
        match operation:
            case Pool():
                operation = replace(operation, kind=PoolKind.MAX)
            case Affine(scale, shift):
                operation = Affine(tuple(float(round(one)) for one in scale), shift)
            case BatchNorm(variance=variance):
                operation = replace(operation, epsilon=0.25)
                tensors[variance] = rng.choice([0.75, 3.75], size=len(tensors[variance]))
            case GlobalMean():
                return None
        nodes.append(replace(node, operation=operation))
    return Topology(tuple(nodes)), tensors, rng.integers(-4, 5, (6, *topology.nodes[0].operation.shape)) / 4


NETWORKS = [network for network in map(exact_network, range(150)) if network is not None]


@pytest.mark.parametrize(("topology", "tensors", "x"), NETWORKS)
def test_a_smaller_network_computes_the_same(topology, tensors, x):
    found = shrink(topology, tensors)
    before, after = (forward(*one, x) for one in ((topology, tensors), (found.topology, found.tensors)))
    output = found.topology.output
    np.testing.assert_array_equal(after[output], before[output])
    steps = read_graph(found.topology, shapes_of(found.tensors)).steps
    assert {step.node.name: step.shape for step in steps} == {name: values.shape[1:] for name, values in after.items()}
    for name, count in found.removed.items():
        assert after[name].shape[1] == before[name].shape[1] - count


def test_random_networks_lose_neurons_of_both_kinds_and_keep_some():
    found = [shrink(topology, tensors) for topology, tensors, _ in NETWORKS]
    assert min(sum(map(len, (one.removed for one in found))), sum(len(one.rounded) for one in found)) > len(found) / 10
    assert sum(len(one.stays) for one in found) > len(found) / 10


def nodes(*steps):
    return Topology(tuple(Node(*step) for step in steps))


def mlp(activation=RELU, bias="b"):
    """Return a topology and tensors: of its four hidden neurons 0 is dead, 1 constant, 2 and 3 are at work."""
    topology = nodes(
        ("in", (), Input((2,))),
        ("a", ("in",), Linear("wa", "ba")),
        ("act", ("a",), activation),
        ("out", ("act",), Linear("w", bias)),
    )
    tensors = {
        "wa": np.array([[1.0, 1], [0, 0], [1, 0], [0, 1]]),
        "ba": np.array([1.0, 0.75, -1, 0]),
        "w": np.array([[0.0, 2, 1, 0], [0, 1, 0, 1]]),
        "b": np.array([0.5, 0.25]),
    }
    return topology, tensors


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_rows_columns_and_biases_go_and_dtypes_stay(dtype):
    topology, tensors = mlp()
    found = shrink(topology, {name: tensor.astype(dtype) for name, tensor in tensors.items()})
    assert found.removed == {"a": 2}
    assert (found.rounded, found.stays) == (("b",), ())
    expected = {"wa": [[1, 0], [0, 1]], "ba": [-1, 0], "w": [[1, 0], [0, 1]], "b": [2.0, 1.0]}
    for name, values in expected.items():
        assert found.tensors[name].dtype == dtype
        np.testing.assert_array_equal(found.tensors[name].astype(float), values)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda one: one.kind.value)
def test_constants_go_through_every_activation(activation):
    topology, tensors = mlp(activation)
    x = np.linspace(-3, 3, 10).reshape(5, 2)
    for bias in (0.75, -0.75, 4.0, -40.0, 0.0):
        tensors["ba"][1] = bias
        found = shrink(topology, tensors)
        assert found.removed == {"a": 2}
        # about ten roundings in a function of at most 40, times weights of at most 2
        np.testing.assert_allclose(
            forward(found.topology, found.tensors, x)["out"], forward(topology, tensors, x)["out"], rtol=0, atol=800 * 2.0**-53
        )


def test_a_layer_without_bias_takes_in_no_constant_but_zero():
    topology, tensors = mlp(bias=None)
    found = shrink(topology, tensors)
    (stays,) = found.stays
    assert (stays.node, stays.neurons, stays.why) == ("a", 1, "node 'out' cannot absorb the constant: it has no bias")
    assert found.removed == {"a": 1}
    tensors["ba"][1] = -0.75
    assert shrink(topology, tensors).removed == {"a": 2}


@pytest.mark.parametrize(("padding", "removed"), [((), {"first": 1}), ((1,), {}), ((0, 1), {})])
def test_a_convolution_takes_in_constants_only_without_padding(padding, removed):
    topology = nodes(
        ("in", (), Input((1, 6))),
        ("first", ("in",), Conv("k0", "b0")),
        ("out", ("first",), Conv("k1", "b1", padding=padding)),
    )
    tensors = {
        "k0": np.array([[[0.0, 0, 0]], [[1, 0, 2]]]),
        "b0": np.array([0.5, 1.0]),
        "k1": np.ones((2, 2, 3)),
        "b1": np.ones(2),
    }
    found = shrink(topology, tensors)
    assert found.removed == removed
    assert [stays.why for stays in found.stays] == (
        ["node 'out' cannot absorb the constant: it pads with zeros"] if padding else []
    )
    x = np.arange(12.0).reshape(2, 1, 6)
    np.testing.assert_array_equal(forward(found.topology, found.tensors, x)["out"], forward(topology, tensors, x)["out"])


@pytest.mark.parametrize(("padding", "removed"), [((), {"a": 1}), ((1, 0), {})])
def test_the_mean_of_a_window_keeps_constants_only_without_padding(padding, removed):
    topology = nodes(
        ("in", (), Input((1, 4))),
        ("a", ("in",), Conv("k", "b")),
        ("mean", ("a",), Pool(PoolKind.MEAN, (2,), (), padding)),
        ("out", ("mean",), Conv("last", "bias")),
    )
    tensors = {"k": np.array([[[1.0]], [[0]]]), "b": np.ones(2), "last": np.ones((1, 2, 1)), "bias": np.zeros(1)}
    found = shrink(topology, tensors)
    assert found.removed == removed
    x = np.arange(8.0).reshape(2, 1, 4)
    np.testing.assert_array_equal(forward(found.topology, found.tensors, x)["out"], forward(topology, tensors, x)["out"])


def test_what_a_sum_adds_goes_on_both_sides_or_stays():
    topology = nodes(
        ("in", (), Input((2,))),
        ("a", ("in",), Linear("wa")),
        ("b", ("in",), Linear("wb", "bb")),
        ("sum", ("a", "b"), Add()),
        ("out", ("sum",), Linear("w", "bias")),
    )
    tensors = {
        "wa": np.array([[1.0, 1], [0, 0], [0, 0]]),
        "wb": np.array([[1.0, 1], [0, 0], [1, 0]]),
        "bb": np.array([1.0, 2, 3]),
        "w": np.array([[0.0, 1, 1]]),
        "bias": np.zeros(1),
    }
    found = shrink(topology, tensors)  # 0 is dead, 1 constant on both sides, 2 on one side only
    assert found.removed == {"a": 2, "b": 2}
    assert {name: found.tensors[name].tolist() for name in ("wa", "wb", "bb", "w", "bias")} == {
        "wa": [[0, 0]],
        "wb": [[1, 0]],
        "bb": [3],
        "w": [[1]],
        "bias": [2],
    }


def test_joined_and_flattened_channels_and_their_parameters_go_together():
    topology = nodes(
        ("in", (), Input((1, 4))),
        ("a", ("in",), Conv("k", "b")),
        ("norm", ("a",), BatchNorm("mean", "variance", 0.25)),
        ("scaled", ("norm",), Affine((1.0, 2.0), (0.5,))),
        ("same", ("in",), Conv("one")),
        ("joined", ("scaled", "same"), Concat()),
        ("flat", ("joined",), Reshape((12,))),
        ("out", ("flat",), Linear("w")),
    )
    tensors = {
        "k": np.ones((2, 1, 1)),
        "b": np.zeros(2),
        "mean": np.zeros(2),
        "variance": np.array([0.75, 3.75]),
        "one": np.ones((1, 1, 1)),
        "w": np.concatenate([np.zeros(4), np.ones(8)])[np.newaxis],
    }
    found = shrink(topology, tensors)
    assert found.removed == {"a": 1}
    assert shapes_of(found.tensors) == {
        "k": (1, 1, 1),
        "b": (1,),
        "mean": (1,),
        "variance": (1,),
        "one": (1, 1, 1),
        "w": (1, 8),
    }
    x = np.arange(8.0).reshape(2, 1, 4)
    np.testing.assert_array_equal(forward(found.topology, found.tensors, x)["out"], forward(topology, tensors, x)["out"])


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([("b", ("a",), Conv("g", groups=2)), ("out", ("b",), Conv("k2"))], "node 'b' is a convolution with groups"),
        ([("b", ("a",), Unbounded("attention")), ("out", ("b",), Reshape())], "nothing is known of the values of node 'b'"),
        ([("out", ("a",), Reshape((4, 2)))], "node 'out' puts values of several channels together"),
        ([("out", ("a",), Activation(ActivationKind.RELU))], "it is an output of the network"),
        ([("b", ("a",), Conv("s")), ("out", ("b",), Conv("s"))], "several nodes use tensor 's'"),
    ],
)
def test_what_cannot_go_is_reported(steps, why):
    topology = nodes(("in", (), Input((1, 4))), ("a", ("in",), Conv("k")), *steps)
    tensors = {
        "k": np.array([1.0, 0]).reshape(2, 1, 1),
        "g": np.ones((2, 1, 1)),
        "k2": np.ones((1, 2, 1)),
        "s": np.ones((2, 2, 1)),
    }
    found = shrink(topology, tensors)
    assert found.removed == {}
    assert [(one.node, one.neurons, one.why) for one in found.stays if one.node == "a"] == [("a", 1, why)]
    assert all(found.tensors[name] is tensor for name, tensor in tensors.items())


def test_one_neuron_always_stays():
    topology, tensors = mlp()
    tensors["w"] = np.zeros((2, 4))
    found = shrink(topology, tensors)
    assert found.removed == {"a": 3}
    assert [one.why for one in found.stays] == ["node 'a' would be left without values", "it is an output of the network"]
    x = np.ones((1, 2))
    np.testing.assert_array_equal(forward(found.topology, found.tensors, x)["out"], [[0.5, 0.25]])


def test_nodes_that_the_output_does_not_need_are_left_out():
    topology, tensors = mlp()
    aside = Topology((*topology.nodes, Node("aside", ("a",), RELU)), "out")
    assert [node.name for node in shrink(aside, tensors).topology.nodes] == ["in", "a", "act", "out"]
    assert shrink(aside, tensors).tensors["wa"].shape == (2, 2)
