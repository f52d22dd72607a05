"""What a certificate takes is counted before it is done: nothing that is small to send is large to compute unseen."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_math.network import l2_bounds
from ellq_math.network.certify import certify
from ellq_math.network.knowledge import Box, Knowledge, Moments
from ellq_math.network.nodes import Activation, ActivationKind, Conv, Input, Linear, Node, Topology
from ellq_math.network.topology import read_graph
from ellq_server.network_work import LAYER_WORK, NORMS, STEP_WORK, VALUE_WORK, network_work
from ellq_server.settings import Settings
from tests.server.wire import Caller, stream_of

RELU = Activation(ActivationKind.RELU)
HALF = pb.Rule(scope=pb.SCOPE_NEURON, fraction=pb.FractionRule(pruned_ratio=0.5))


def chain(shape, *operations):
    nodes = [Node("0", (), Input(shape))]
    nodes += [Node(str(place), (str(place - 1),), operation) for place, operation in enumerate(operations, start=1)]
    return Topology(tuple(nodes))


def counted(topology, shapes, *, has_moments=False):
    return network_work(read_graph(topology, shapes), shapes, has_moments=has_moments)


def test_values_that_a_stride_passes_over_count():
    """One product is left of 36 million values, all of which have intervals."""
    found = counted(chain((4, 3000, 3000), Conv("k", stride=(4_000_000_000,))), {"k": (4, 4, 3, 3)})
    assert found >= 2 * VALUE_WORK * 4 * 3000 * 3000


def test_padding_counts_as_values():
    shapes = {"k": (1, 1, 2)}
    few, many = (counted(chain((1, 10), Conv("k", padding=(side,), dilation=(8,))), shapes) for side in (1, 9))
    assert many - few >= 2 * VALUE_WORK * 16


def test_every_node_counts_its_values():
    one, two = (counted(chain((1000,), *([RELU] * count)), {}) for count in (1, 2))
    assert two - one >= 2 * VALUE_WORK * 1000 + STEP_WORK


def test_layers_count_however_small_they_are():
    found = [counted(chain((2,), *([Linear("w")] * count)), {"w": (2, 2)}) for count in (1, 2, 10_000 - 1)]
    assert found[1] - found[0] >= LAYER_WORK + STEP_WORK
    assert found[2] >= 10**11  # 20 s and more were measured


def test_sines_count_as_long_as_they_take():
    """A norm whose symbol has 16 million of them took 0.8 s."""
    assert counted(chain((1, 100, 100), Conv("k", padding=(20,))), {"k": (1, 1, 40, 40)}) >= NORMS * 6 * 10**9


def test_a_common_image_network_is_within_the_default():
    """The 3 x 3 convolutions of a ResNet-50, whose symbols are most of its work."""
    stages = [(3, 64, 56), (4, 128, 28), (6, 256, 14), (3, 512, 7)]
    needed = 0
    for count, channels, length in stages:
        layers = [Conv("k", padding=(1,))] * count
        needed += counted(chain((channels, length, length), *layers), {"k": (channels, channels, 3, 3)})
    assert needed <= Settings.model_fields["network_work"].default / 2


class Halved:
    """Tensors whose small weights were cut."""

    def __init__(self, tensors):
        self.tensors = tensors

    def original(self, name):
        return self.tensors[name]

    def changed(self, name):
        return np.where(np.abs(self.tensors[name]) > 0.05, self.tensors[name], 0.0)


def test_no_layer_has_more_norms_than_are_counted(monkeypatch):
    rng, norms = np.random.default_rng(0), []

    def counting(kernel, step):
        norms.append(step.node.name)
        return plain(kernel, step)

    plain = l2_bounds.conv_norm_bound
    monkeypatch.setattr(l2_bounds, "conv_norm_bound", counting)
    names = ["a", "b", "c", "d"]
    tensors = {name: rng.normal(size=(3, 3, 3)) / 9 for name in names}
    graph = read_graph(chain((3, 8), *(Conv(name, padding=(1,)) for name in names)), dict.fromkeys(names, (3, 3, 3)))
    moments = {name: Moments(name, np.ones(9)) for name in names}
    known = Knowledge(box=Box(np.array([-1.0]), np.array([1.0])), l2_radius=1.0, moments=moments)
    found = certify(graph, Halved(tensors), known)
    assert len(found.grades) == 3
    each = [norms.count(step.node.name) for step in graph.layers]
    assert max(each) == NORMS, each
    assert all(one <= other for one, other in pairwise(each))


@pytest.mark.parametrize("length", [1 << 20, 1 << 12])
def test_a_box_of_many_values_is_more_computing_than_its_bytes_tell(serve: Callable[..., Caller], length: int) -> None:
    nodes = [
        pb.Node(name="x", input=pb.InputNode(shape=[1, length])),
        pb.Node(name="c", inputs=["x"], conv=pb.ConvNode(weight="w")),
    ]
    box = pb.InputKnowledge(box=pb.Box(low=[-1], high=[1]))
    network = pb.Network(topology=pb.Topology(nodes=nodes), inputs=box)
    stream = stream_of({"w": np.ones((1, 1, 3), np.float32)})
    caller = serve(network_work=10**10)
    if length == 1 << 12:
        assert caller.compress(stream, HALF, network=network).summary.network.reaches_output
    else:
        assert caller.refused(stream, HALF, network=network).reason == "NETWORK_TOO_LARGE"
