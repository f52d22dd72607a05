"""Networks, inputs and moments that do not hold together are refused by name, whatever is wrong with them."""

import math
from collections.abc import Callable

import grpc
import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from tests.server import perceptron
from tests.server.wire import HALF, Caller, read_refusal, stream_of

WEIGHTS = perceptron.tensors()
STREAM = stream_of(WEIGHTS)
MOMENTS = perceptron.moments(WEIGHTS, perceptron.samples())
RELU = pb.ActivationNode(kind=pb.ACTIVATION_KIND_RELU)


def changed(change: Callable[[pb.Topology], object]) -> pb.Network:
    wire = perceptron.network()
    change(wire.topology)
    return wire


def node(topology: pb.Topology, name: str) -> pb.Node:
    return next(one for one in topology.nodes if one.name == name)


def add(topology: pb.Topology, **fields: object) -> None:
    topology.nodes.append(pb.Node(**fields))


def cycle(topology: pb.Topology) -> None:
    node(topology, "relu0").inputs[0] = "fc1"


BAD_TOPOLOGIES = {
    "nothing": (lambda t: t.Clear(), "0 nodes"),
    "cycle": (cycle, "relu0"),
    "unknown input": (lambda t: node(t, "fc0").inputs.__setitem__(0, "y"), "'y'"),
    "unknown tensor": (lambda t: setattr(node(t, "fc0").linear, "weight", "fc9.weight"), "fc9.weight"),
    "shape mismatch": (lambda t: setattr(node(t, "fc1").linear, "weight", "fc2.weight"), "fc1"),
    "bias mismatch": (lambda t: setattr(node(t, "fc1").linear, "bias", "fc0.bias"), "fc0.bias"),
    "input mismatch": (lambda t: node(t, "x").input.shape.__setitem__(0, 5), "fc0"),
    "two names": (lambda t: setattr(node(t, "fc1"), "name", "fc0"), "fc0"),
    "no name": (lambda t: setattr(node(t, "fc1"), "name", ""), "name"),
    "no operation": (lambda t: add(t, name="odd", inputs=["fc2"]), "odd"),
    "no activation": (lambda t: add(t, name="odd", inputs=["fc2"], activation=pb.ActivationNode()), "kind"),
    "unknown activation": (lambda t: setattr(node(t, "relu0").activation, "kind", 99), "99"),
    "relu of two": (lambda t: node(t, "relu0").inputs.append("x"), "relu0"),
    "add of one": (lambda t: add(t, name="sum", inputs=["fc2"], add=pb.AddNode()), "sum"),
    "add of shapes": (lambda t: add(t, name="sum", inputs=["fc2", "fc1"], add=pb.AddNode()), "sum"),
    "long description": (lambda t: add(t, name="odd", inputs=["fc2"], unbounded=pb.UnboundedNode(what="x" * 201)), "201"),
    "two inputs": (lambda t: add(t, name="z", input=pb.InputNode(shape=[6])), "z"),
    "two outputs": (lambda t: add(t, name="side", inputs=["fc1"], activation=RELU), "side"),
    "unknown output": (lambda t: setattr(t, "output", "nowhere"), "nowhere"),
    "empty input": (lambda t: node(t, "x").input.shape.__delitem__(0), "x"),
    "huge input": (lambda t: node(t, "x").input.shape.__setitem__(0, 2**32 - 1), "x"),
}


@pytest.mark.parametrize("case", BAD_TOPOLOGIES)
def test_a_bad_topology_is_refused_by_name(caller: Caller, case: str) -> None:
    change, named = BAD_TOPOLOGIES[case]
    refusal = caller.refused(STREAM, network=changed(change))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == ("INVALID_ENUM" if "activation" in case else "INVALID_TOPOLOGY")
    assert refusal.field.startswith("options.network.topology")
    assert named in refusal.message


BAD_INPUTS = {
    "NaN": ({"box": pb.Box(low=[math.nan], high=[1])}, "box.low"),
    "infinite": ({"box": pb.Box(low=[0], high=[math.inf])}, "box.high"),
    "empty": ({"box": pb.Box(low=[0])}, "box.high"),
    "upside down": ({"box": pb.Box(low=[1], high=[0])}, "box"),
    "wrong length": ({"box": pb.Box(low=[0] * 5, high=[1] * 5)}, "box"),
    "no radius": ({"l2_radius": 0.0}, "l2_radius"),
    "negative radius": ({"l2_radius": -1.0}, "l2_radius"),
    "NaN radius": ({"l2_radius": math.nan}, "l2_radius"),
    "negative margin": ({"margins": [1.0, -1.0]}, "margins"),
    "NaN margin": ({"margins": [math.nan]}, "margins"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_inputs_that_no_network_has_are_refused_by_name(caller: Caller, case: str) -> None:
    inputs, named = BAD_INPUTS[case]
    refusal = caller.refused(STREAM, network=perceptron.network(**inputs))
    assert refusal.reason == "INVALID_INPUTS"
    assert refusal.field.startswith("options.network.inputs")
    assert named in refusal.field + refusal.message


def moments_with(second: object = None, matrix: object = None, tensor: str = "fc0.weight") -> list[pb.Moments]:
    first = MOMENTS[0]
    second = list(first.second_moments) if second is None else second
    raw = first.matrix if matrix is None else np.asarray(matrix, "<f8").tobytes()
    return [pb.Moments(tensor=tensor, second_moments=second, matrix=raw), *MOMENTS[1:]]


MATRIX = np.frombuffer(MOMENTS[0].matrix, "<f8").reshape(6, 6)
ONES = np.ones((6, 6))
BAD_MOMENTS = {
    "too few": moments_with(second=[1.0] * 5),
    "none": moments_with(second=[]),
    "negative": moments_with(second=[-1.0, *[1.0] * 5]),
    "NaN": moments_with(second=[math.nan, *[1.0] * 5]),
    "infinite": moments_with(second=[math.inf, *[1.0] * 5]),
    "short matrix": moments_with(matrix=MATRIX[:5]),
    "asymmetric": moments_with(matrix=MATRIX + np.triu(ONES)),
    "impossible": moments_with(second=[1.0] * 6, matrix=2 * ONES - np.eye(6)),
    "NaN matrix": moments_with(matrix=np.where(np.eye(6) > 0, MATRIX, math.nan)),
    "unknown tensor": moments_with(tensor="fc7.weight"),
    "a vector": moments_with(tensor="fc0.bias"),
    "twice": [*MOMENTS, MOMENTS[0]],
}


@pytest.mark.parametrize("case", BAD_MOMENTS)
def test_moments_that_no_inputs_have_are_refused(caller: Caller, case: str) -> None:
    refusal = caller.refused(STREAM, moments=BAD_MOMENTS[case], network=perceptron.network())
    assert (refusal.code, refusal.reason, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_MOMENTS", "moments")


def budget(scope: pb.Scope = pb.SCOPE_GLOBAL, grade: pb.Grade = pb.GRADE_BOX, **target: float) -> pb.Rule:
    return pb.Rule(scope=scope, error_budget=pb.ErrorBudgetRule(grade=grade, **target))


LASSO = pb.Rule(scope=pb.SCOPE_NEURON, lasso=pb.LassoRule(epsilon=0.1))
KNOWN = {"network": perceptron.network(), "moments": MOMENTS}
MEAN = pb.GRADE_MEAN_SQUARE
OWN_RULE = pb.Selection(overrides=[pb.TensorOverride(glob="fc1*", rule=HALF)])
OTHER_AXIS = pb.Selection(overrides=[pb.TensorOverride(glob="fc1.weight", neuron_axis=[1])])
ENDING = pb.Node(name="norm", inputs=["fc2"], unbounded=pb.UnboundedNode(what="layer norm"))
UNBOUNDED = pb.Network(topology=perceptron.topology(end=ENDING), inputs=perceptron.network().inputs)
DIAGONALS = perceptron.moments(WEIGHTS, perceptron.samples(), matrices=False)

BAD_RULES = {
    **{f"budget {error}": (budget(max_error=error), KNOWN, "INVALID_BUDGET") for error in (0.0, -1.0, math.inf, math.nan)},
    "no target": (budget(), KNOWN, "INVALID_BUDGET"),
    "no share": (budget(pruned_ratio=0.0), KNOWN, "INVALID_RATIO"),
    "ball": (budget(max_error=1, grade=pb.GRADE_BALL), KNOWN, "INVALID_ENUM"),
    "no grade": (budget(max_error=1, grade=pb.GRADE_UNSPECIFIED), KNOWN, "INVALID_ENUM"),
    "neuron scope": (budget(pb.SCOPE_NEURON, max_error=1), KNOWN, "INVALID_SCOPE"),
    "no network": (budget(max_error=1), {}, "TOPOLOGY_REQUIRED"),
    "no box": (budget(max_error=1), {"network": perceptron.network(box=None)}, "INPUTS_REQUIRED"),
    "no moments": (budget(max_error=1, grade=MEAN), {"network": perceptron.network()}, "MOMENTS_REQUIRED"),
    "some moments": (budget(max_error=1, grade=MEAN), KNOWN | {"moments": MOMENTS[1:]}, "MOMENTS_REQUIRED"),
    "own rule": (budget(max_error=1), KNOWN | {"selection": OWN_RULE}, "INVALID_OVERRIDE"),
    "no bound": (budget(max_error=1), KNOWN | {"network": UNBOUNDED}, "INVALID_TOPOLOGY"),
    "other axis": (HALF, KNOWN | {"selection": OTHER_AXIS}, "INVALID_NEURON_AXIS"),
    "lasso without moments": (LASSO, {}, "MOMENTS_REQUIRED"),
    "lasso without matrices": (LASSO, {"moments": DIAGONALS}, "MOMENTS_REQUIRED"),
    "lasso of nothing": (pb.Rule(scope=pb.SCOPE_NEURON, lasso=pb.LassoRule()), KNOWN, "INVALID_EPSILON"),
    "lasso of layers": (pb.Rule(scope=pb.SCOPE_LAYER, lasso=pb.LassoRule(epsilon=0.1)), KNOWN, "INVALID_SCOPE"),
    "dead without network": (HALF, {"remove_dead_neurons": True}, "TOPOLOGY_REQUIRED"),
    "pooled without all moments": (
        pb.Rule(scope=pb.SCOPE_GLOBAL, tail=pb.TailRule(epsilon=0.1, p=1)),
        {"moments": MOMENTS[1:]},
        "MOMENTS_REQUIRED",
    ),
}


@pytest.mark.parametrize("case", BAD_RULES)
def test_a_rule_without_what_it_needs_is_refused(caller: Caller, case: str) -> None:
    rule, options, reason = BAD_RULES[case]
    refusal = caller.refused(STREAM, rule, **options)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


def test_an_unreadable_dtype_in_the_network_is_refused(caller: Caller) -> None:
    refusal = caller.refused(stream_of(WEIGHTS | {"fc1.bias": np.ones(7, np.int64)}), network=perceptron.network())
    assert refusal.reason == "INVALID_TOPOLOGY"
    assert "I64" in refusal.message


@pytest.mark.parametrize("order", ["before options", "after data"])
def test_moments_come_between_options_and_data(caller: Caller, order: str) -> None:
    frames = [
        pb.CompressRequest(options=pb.CompressOptions(rule=HALF)),
        pb.CompressRequest(data=STREAM[:100]),
        pb.CompressRequest(data=STREAM[100:]),
    ]
    frames.insert(0 if order == "before options" else 2, pb.CompressRequest(moments=MOMENTS[0]))
    with pytest.raises(grpc.RpcError) as error:
        caller.compress_frames(frames)
    expected = "MISSING_OPTIONS" if order == "before options" else "INVALID_MOMENTS"
    assert read_refusal(error.value).reason == expected


def test_more_moments_than_the_limit_are_refused(serve: Callable[..., Caller]) -> None:
    assert serve(moments_bytes=1000).refused(STREAM, moments=MOMENTS).reason == "MOMENTS_TOO_LARGE"


def test_more_computing_than_the_limit_is_refused(serve: Callable[..., Caller]) -> None:
    refusal = serve(network_work=100).refused(STREAM, network=perceptron.network())
    assert (refusal.reason, refusal.field) == ("NETWORK_TOO_LARGE", "options.network.topology")


def test_too_many_nodes_are_refused(caller: Caller) -> None:
    chain = [pb.Node(name="x", input=pb.InputNode(shape=[6]))]
    chain += [pb.Node(name=f"n{i}", inputs=[f"n{i - 1}" if i else "x"], activation=RELU) for i in range(10_000)]
    refusal = caller.refused(STREAM, network=pb.Network(topology=pb.Topology(nodes=chain)))
    assert refusal.reason == "INVALID_TOPOLOGY"
    assert "10000" in refusal.message


def test_a_tensor_that_is_rows_to_one_node_and_columns_to_another_is_refused(caller: Caller) -> None:
    nodes = [pb.Node(name="x", input=pb.InputNode(shape=[6]))]
    nodes.append(pb.Node(name="a", inputs=["x"], linear=pb.LinearNode(weight="tied")))
    nodes.append(pb.Node(name="b", inputs=["a"], linear=pb.LinearNode(weight="tied", transposed=True)))
    wire = pb.Network(topology=pb.Topology(nodes=nodes))
    refusal = caller.refused(stream_of({"tied": np.ones((6, 6))}), network=wire)
    assert refusal.reason == "INVALID_TOPOLOGY"
    assert "'tied' both transposed and not" in refusal.message


@pytest.mark.parametrize("variance", [-1.0, 1.7e308])
@pytest.mark.parametrize("rule", [HALF, budget(max_error=1)], ids=["half", "budget"])
def test_a_variance_without_a_root_is_refused_by_name(caller: Caller, rule: pb.Rule, variance: float) -> None:
    numbers = {"mean": np.zeros(4), "variance": np.array([1.0, variance, 1.0, 1.0])}
    norm = pb.Node(name="bn", inputs=["fc2"], batch_norm=pb.BatchNormNode(epsilon=1.7e308, **{name: name for name in numbers}))
    wire = changed(lambda topology: topology.nodes.append(norm))
    refusal = caller.refused(stream_of(WEIGHTS | numbers), rule, network=wire)
    assert refusal.reason == "INVALID_TOPOLOGY"
    assert "'bn'" in refusal.message


def test_moments_that_lead_beyond_a_double_are_refused_by_name(caller: Caller) -> None:
    moments = [pb.Moments(tensor="w", second_moments=[1e6] * 4)]
    refusal = caller.refused(stream_of({"w": np.full((2, 4), 1e306)}), HALF, moments=moments)
    assert (refusal.reason, refusal.field) == ("INVALID_MOMENTS", "moments")
    assert "a weight of tensor 'w'" in refusal.message
