"""A description says what it was told, over the wire and in a file."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from google.protobuf import json_format

from ellq.v1 import compression_pb2 as pb
from ellq_client import InvalidNetwork, OutputError, SourceError, networks
from ellq_client.networks import (
    Add,
    Affine,
    BatchNorm,
    Box,
    Clip,
    Concat,
    Conv,
    Elu,
    Gelu,
    GeluTanh,
    GlobalMean,
    HardSigmoid,
    HardSwish,
    Identity,
    Input,
    LeakyRelu,
    Linear,
    MaxPool,
    MeanPool,
    Network,
    Node,
    Relu,
    Reshape,
    Sigmoid,
    Silu,
    Softmax,
    Softplus,
    Tanh,
    Unbounded,
    chain,
)

EVERYTHING = [
    Input(1, 28, 28), Linear("a.weight"), Linear("a.weight", "a.bias", transposed=True),
    Conv("c", stride=2, padding=(1, 0, 1, 0)), Conv("c", "b", dilation=(2, 1), groups=3), Add(), Concat(), MaxPool(2),
    MeanPool((2, 3), stride=1, padding=1), GlobalMean(), Reshape(), Reshape(4, 7), Softmax(), Unbounded("layer norm"),
    BatchNorm(mean="m", variance="v", epsilon=1e-5), BatchNorm(mean="m", variance="v", epsilon=1e-5, weight="w", bias="b"),
    Affine(scale=2), Affine(shift=(1, 2.5)), Identity(), Relu(), Sigmoid(), LeakyRelu(0.1), Clip(0, 6), Tanh(), Gelu(),
    GeluTanh(), Silu(), Elu(0.5), Softplus(), HardSigmoid(), HardSwish(),
]  # fmt: skip


@pytest.fixture
def network():
    known = {"box": (np.zeros((2, 2)), 1), "l2_radius": 3, "margins": [0.5, 0.25]}
    return Network([Node(str(place), one, "x", "y") for place, one in enumerate(EVERYTHING)], output="7").with_inputs(**known)


def test_everything_has_a_place_in_the_contract():
    """So that a new operation of the contract is not forgotten here."""
    told = {one.kind for one in EVERYTHING}
    assert told == {field.name for field in pb.Node.DESCRIPTOR.oneofs_by_name["operation"].fields}
    functions = {one.function for one in EVERYTHING if one.kind == "activation"}
    assert functions == {name.removeprefix("ACTIVATION_KIND_").lower() for name in pb.ActivationKind.keys()[1:]}


def test_the_wire_and_back(network):
    assert Network.from_proto(network.to_proto()) == network


def test_the_file_and_back(network, tmp_path):
    network.save(tmp_path / "net.json")
    assert Network.load(tmp_path / "net.json") == network
    assert json_format.Parse((tmp_path / "net.json").read_text(), pb.Network()) == network.to_proto()
    assert json.loads((tmp_path / "net.json").read_text())["topology"]["nodes"][1]["linear"] == {"weight": "a.weight"}


def test_what_goes_over_the_wire():
    message = chain(Input(2, 5), Conv("c.weight", stride=2), MaxPool(2), Clip(0, 6)).to_proto()
    conv, pool, clip = (message.topology.nodes[place] for place in (1, 2, 3))
    assert (conv.conv.weight, conv.conv.bias, list(conv.conv.stride), list(conv.conv.padding)) == ("c.weight", "", [2], [])
    assert (pool.pool.kind, list(pool.pool.kernel)) == (pb.POOL_KIND_MAX, [2])
    assert (clip.activation.kind, list(clip.activation.parameters)) == (pb.ACTIVATION_KIND_CLIP, [0, 6])
    assert not message.HasField("inputs")


def test_a_chain_names_its_nodes():
    network = chain(Input(3), Linear("f1.weight"), Relu(), Linear("f2.weight"), Relu(), MaxPool(1), Linear("f1.weight"))
    assert [node.name for node in network.nodes] == ["input", "f1", "relu", "f2", "relu_2", "max_pool", "f1_2"]
    assert [node.inputs for node in network.nodes[1:]] == [(node.name,) for node in network.nodes[:-1]]


def test_what_is_known_of_inputs_adds_up():
    network = chain(Input(2)).with_inputs(box=(-1, [[1, 2]])).with_inputs(l2_radius=2).with_inputs(margins=np.ones(2))
    assert (network.inputs.box, network.inputs.l2_radius, network.inputs.margins) == (Box((-1.0,), (1.0, 2.0)), 2.0, (1.0, 1.0))


@pytest.mark.parametrize("known", [{"box": 1}, {"box": (0, 1, 2)}, {"box": (0, "a")}, {"margins": "high"}])
def test_knowledge_that_is_no_numbers_is_named(known):
    with pytest.raises(InvalidNetwork, match=r"box|margins"):
        chain(Input(2)).with_inputs(**known)


@pytest.mark.parametrize(
    ("operation", "told"),
    [
        (Conv("w", stride=-1), r"node 'x': \(-1,\) is no stride of conv"),
        (Linear(3), "node 'x': 3 is no weight of linear"),
        (Relu, "node 'x': .* is no operation"),
        ("relu", "node 'x': 'relu' is no operation"),
    ],
)
def test_what_no_message_can_hold_names_its_node(operation, told):
    with pytest.raises(InvalidNetwork, match=told):
        Network([Node("x", operation)]).to_proto()


@pytest.mark.parametrize(
    "node",
    [
        pb.Node(name="x"),
        pb.Node(name="x", activation=pb.ActivationNode()),
        pb.Node(name="x", activation=pb.ActivationNode(kind=99)),
        pb.Node(name="x", activation=pb.ActivationNode(kind="ACTIVATION_KIND_CLIP", parameters=[1])),
        pb.Node(name="x", pool=pb.PoolNode(kernel=[2])),
    ],
)
def test_messages_that_say_nothing_known_are_refused(node):
    with pytest.raises(InvalidNetwork, match="node 'x' has no operation that this version knows"):
        Network.from_proto(pb.Network(topology=pb.Topology(nodes=[node])))


def test_files_that_are_none(tmp_path):
    (tmp_path / "a.json").write_text('{"topologie": {}}')
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match=re.escape(f"cannot read {tmp_path / 'c.json'}")):
        Network.load(tmp_path / "c.json")
    for name in "ab":
        with pytest.raises(InvalidNetwork, match="describes no network"):
            Network.load(tmp_path / f"{name}.json")
    with pytest.raises(OutputError):
        chain(Input(1)).save(tmp_path / "nowhere" / "net.json")


def test_all_names_are_there():
    assert networks.__all__ == sorted(networks.__all__, key=lambda name: (name[0].islower(), name))
    assert all(getattr(networks, name) is not None for name in networks.__all__)
    with pytest.raises(AttributeError, match="no attribute 'chian'"):
        _ = networks.chian


def test_describing_needs_neither_torch_nor_onnx():
    code = "import ellq_client.networks, sys; print(*{'torch', 'onnx', 'scipy'} & sys.modules.keys())"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not ran.stdout.strip()


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("network_of", "torch", "torch"), ("calibrate", "torch", "torch"), ("network_of_onnx", "onnx", "onnx")],
)
def test_a_missing_package_names_its_extra(name, package, extra):
    code = f"import sys; sys.modules[{package!r}] = None; from ellq_client.networks import {name}"
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert f"pip install 'ellq[{extra}]'" in ran.stderr
    assert "ExtraMissing" in ran.stderr
