import numpy as np
import pytest
from tests.math.network.networks import forward, pruned, random_network, shapes_of

from ellq_math.network.dead_neurons import dead_neurons
from ellq_math.network.layer_gains import layer_rows
from ellq_math.network.nodes import (
    Activation,
    ActivationKind,
    Add,
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
from ellq_math.network.topology import read_graph

IDENTITY = (Activation(ActivationKind.IDENTITY),)
RELU = Activation(ActivationKind.RELU)


def dead_in(topology, tensors):
    found = dead_neurons(read_graph(topology, shapes_of(tensors)), tensors.__getitem__)
    return {name: np.flatnonzero(flags).tolist() for name, flags in found.items()}


def layers_of(topology):
    return {node.operation.weight: node.operation for node in topology.nodes if isinstance(node.operation, Linear | Conv)}


@pytest.mark.parametrize("seed", range(60))
def test_without_its_dead_neurons_a_network_computes_the_same(seed):
    rng = np.random.default_rng(seed)
    topology, tensors = random_network(rng)
    tensors = pruned(tensors, rng, share=0.8)
    cleared = dict(tensors)
    for name, neurons in dead_in(topology, tensors).items():
        cleared[name] = tensors[name].copy()
        layer_rows(layers_of(topology)[name], cleared[name])[neurons] = 0.0
    x = rng.normal(size=(5, *topology.nodes[0].operation.shape))
    output = topology.nodes[-1].name
    np.testing.assert_array_equal(forward(topology, cleared, x)[output], forward(topology, tensors, x)[output])


def only_vectors():
    """Return seeds of networks in which every neuron is one value, so that what is alive can be felt."""
    found = []
    for seed in range(120):
        topology, _ = random_network(np.random.default_rng(seed), activations=IDENTITY, softmax=False)
        if not any(isinstance(node.operation, Conv | Pool) for node in topology.nodes):
            found.append(seed)
    return found


@pytest.mark.parametrize("seed", only_vectors())
def test_a_neuron_is_dead_exactly_when_the_outputs_of_a_linear_network_ignore_it(seed):
    rng = np.random.default_rng(seed)
    topology, tensors = random_network(rng, activations=IDENTITY, softmax=False)
    tensors = pruned(tensors, rng, share=0.7)
    x = rng.normal(size=(3, *topology.nodes[0].operation.shape))
    output = topology.nodes[-1].name
    before = forward(topology, tensors, x)[output]
    for name, dead in dead_in(topology, tensors).items():
        for neuron in range(len(layer_rows(layers_of(topology)[name], tensors[name]))):
            moved = tensors | {name: tensors[name].copy()}
            layer_rows(layers_of(topology)[name], moved[name])[neuron] += rng.normal()
            same = np.array_equal(forward(topology, moved, x)[output], before)
            assert same == (neuron in dead)


def nodes(*steps):
    return Topology(tuple(Node(*step) for step in steps))


def test_death_runs_back_through_a_chain():
    topology = nodes(
        ("in", (), Input((2,))),
        ("a", ("in",), Linear("wa")),
        ("relu", ("a",), RELU),
        ("b", ("relu",), Linear("wb")),
        ("c", ("b",), Linear("wc")),
    )
    tensors = {"wa": np.ones((3, 2)), "wb": np.array([[1.0, 0, 0], [0, 1, 0]]), "wc": np.array([[0.0, 1.0]])}
    assert dead_in(topology, tensors) == {"wa": [0, 2], "wb": [0], "wc": []}


def test_a_sum_keeps_both_sides_alive_and_joined_values_live_for_themselves():
    topology = nodes(
        ("in", (), Input((2,))),
        ("a", ("in",), Linear("wa")),
        ("b", ("in",), Linear("wb")),
        ("c", ("in",), Linear("wc")),
        ("sum", ("a", "b"), Add()),
        ("joined", ("c", "sum"), Concat()),
        ("out", ("joined",), Linear("w")),
    )
    tensors = {"wa": np.ones((2, 2)), "wb": np.ones((2, 2)), "wc": np.ones((3, 2)), "w": np.array([[0.0, 0, 1, 0, 1]])}
    assert dead_in(topology, tensors) == {"wa": [0], "wb": [0], "wc": [0, 1], "w": []}


def test_a_channel_is_dead_only_when_all_its_values_are():
    topology = nodes(
        ("in", (), Input((1, 4))),
        ("conv", ("in",), Conv("k")),
        ("flat", ("conv",), Reshape()),
        ("out", ("flat",), Linear("w")),
    )
    tensors = {"k": np.ones((3, 1, 3)), "w": np.array([[0.0, 0, 0, 1, 0, 0]])}
    assert dead_in(topology, tensors)["k"] == [0, 2]


@pytest.mark.parametrize("last", [Pool(PoolKind.MAX, (2,)), Pool(PoolKind.MEAN, (2,)), GlobalMean()])
def test_what_a_pool_sees_is_alive_with_it(last):
    topology = nodes(
        ("in", (), Input((1, 4))),
        ("conv", ("in",), Conv("k")),
        ("pool", ("conv",), last),
        ("flat", ("pool",), Reshape()),
        ("out", ("flat",), Linear("w")),
    )
    assert dead_in(topology, {"k": np.ones((2, 1, 3)), "w": np.array([[0.0, 1.0]])})["k"] == [0]


def test_groups_of_a_convolution_feel_their_own_channels_alone():
    topology = nodes(
        ("in", (), Input((1, 3))),
        ("first", ("in",), Conv("k")),
        ("second", ("first",), Conv("g", groups=2)),
    )
    kernel = np.zeros((2, 2, 1))
    kernel[0, 1] = kernel[1, 0] = 1.0
    assert dead_in(topology, {"k": np.ones((4, 1, 1)), "g": kernel})["k"] == [0, 3]


def test_the_kernel_of_a_dead_channel_keeps_nothing_alive():
    topology = nodes(
        ("in", (), Input((1, 3))),
        ("first", ("in",), Conv("k")),
        ("second", ("first",), Conv("g")),
        ("third", ("second",), Conv("last")),
    )
    tensors = {"k": np.ones((2, 1, 1)), "g": np.eye(2)[:, :, np.newaxis], "last": np.array([[[0.0], [1]]])}
    assert dead_in(topology, tensors) == {"k": [0], "g": [0], "last": []}


def test_a_softmax_sees_all_or_nothing():
    steps = (
        ("in", (), Input((2,))),
        ("a", ("in",), Linear("wa")),
        ("soft", ("a",), Softmax()),
        ("out", ("soft",), Linear("w")),
    )
    assert dead_in(nodes(*steps), {"wa": np.ones((2, 2)), "w": np.array([[0.0, 1.0]])})["wa"] == []
    assert dead_in(nodes(*steps), {"wa": np.ones((2, 2)), "w": np.array([[0.0, 0.0]])})["wa"] == [0, 1]


def test_a_shared_tensor_is_dead_only_in_all_its_uses():
    steps = [("in", (), Input((2,))), ("a", ("in",), Linear("w")), ("b", ("a",), Linear("w")), ("out", ("b",), Linear("v"))]
    tensors = {"w": np.array([[1.0, 0], [1, 0]]), "v": np.array([[1.0, 0]])}
    assert dead_in(nodes(*steps), tensors)["w"] == [1]  # neuron 1 is dead in a and in b
    assert dead_in(nodes(*steps), tensors | {"v": np.array([[0.0, 1]])})["w"] == []  # neuron 0 lives in a, neuron 1 in b
    steps[2] = ("b", ("a",), Linear("w", transposed=True))
    assert dead_in(nodes(*steps), tensors)["w"] == []


def test_all_is_alive_before_and_behind_a_step_that_is_not_known():
    topology = nodes(
        ("in", (), Input((2,))),
        ("a", ("in",), Linear("wa")),
        ("attention", ("a",), Unbounded("attention")),
        ("b", ("attention",), Linear("wb")),
        ("out", ("b",), Linear("w")),
    )
    tensors = {"wa": np.ones((2, 2)), "wb": np.ones((2, 2)), "w": np.zeros((1, 2))}
    assert dead_in(topology, tensors) == {"wa": [], "wb": [], "w": []}
