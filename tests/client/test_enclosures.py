"""Networks and moments go along with a call, again with every attempt, and what comes back is told in sentences."""

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq.v1 import compression_pb2 as pb
from ellq_client import AsyncClient, Client, ErrorBudget, InvalidNetwork, NetworkCertificate
from ellq_client.certificates import BudgetSpent, Ending, GradeCertificate, lower, upper
from ellq_client.graphs import read_knowledge, read_moments, read_topology, write_topology
from ellq_client.mirror import mirror
from ellq_client.networks import Calibration, Input, Linear, Network, TensorMoments, chain

NETWORK = chain(Input(4), Linear("layer.weight", "layer.bias")).with_inputs(box=(-1, 1))
CALIBRATION = Calibration({"layer.weight": TensorMoments(np.ones(4), np.eye(4)[np.newaxis])}, samples=3)
RULE = ErrorBudget(max_error=0.5)


def test_network_and_moments_are_sent_and_remembered(fake, checkpoint):
    with Client(fake.address) as client:
        result = client.compress(checkpoint, rule=RULE, network=NETWORK, moments=CALIBRATION, remove_dead_neurons=True).result()
    (options,) = fake.requests
    assert options.network == NETWORK.to_proto()
    assert options.remove_dead_neurons
    assert not options.magnitudes_only
    assert fake.moments == [list(CALIBRATION.to_frames())]
    assert fake.uploads == [checkpoint.read_bytes()]
    assert len(result.request.network_sha256) == len(result.request.moments_sha256) == 64
    assert result.network == result.summary.network


async def test_a_repeated_call_sends_the_moments_again(fake, refusal, checkpoint, no_waiting):
    fake.refusals = [refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, reason="BUSY")] * 2
    frames = list(CALIBRATION.to_frames())
    with Client(fake.address) as client:
        client.analyze(checkpoint, moments=iter(frames), magnitudes_only=True).result()
    fake.refusals = [refusal(grpc.StatusCode.UNAVAILABLE)]
    async with AsyncClient(fake.address) as client:
        await client.analyze(checkpoint, moments=CALIBRATION).result()
    assert fake.moments == [frames] * 5


def test_networks_and_moments_may_be_paths(fake, checkpoint, tmp_path):
    NETWORK.save(tmp_path / "net.json")
    CALIBRATION.save(tmp_path / "moments.safetensors")
    with Client(fake.address) as client:
        client.analyze(checkpoint, network=tmp_path / "net.json", moments=str(tmp_path / "moments.safetensors")).result()
        with pytest.raises(TypeError, match="network is a Network or the path"):
            client.analyze(checkpoint, network={})
        for wrong in (5, {}):
            with pytest.raises(TypeError, match="moments are a Calibration or the path"):
                client.analyze(checkpoint, moments=wrong)
    assert fake.requests[0].network == NETWORK.to_proto()
    assert fake.moments == [list(CALIBRATION.to_frames())]


def test_margins_of_other_samples_are_refused(fake, checkpoint):
    with Client(fake.address) as client, pytest.raises(InvalidNetwork, match="4 margins, but the moments are of 3 samples"):
        client.analyze(checkpoint, network=NETWORK.with_inputs(margins=[1, 2, 3, 4]), moments=CALIBRATION)


def test_a_network_of_another_file_is_asked_about(fake, refusal, checkpoint):
    told = "node 'a': tensor 'b' is not in the stream"
    fake.refusals = [refusal(grpc.StatusCode.INVALID_ARGUMENT, told, "INVALID_TOPOLOGY")]
    with Client(fake.address) as client, pytest.raises(InvalidNetwork) as caught:
        client.analyze(checkpoint, network=NETWORK).result()
    assert caught.value.__notes__ == ["is this the network of this file?"]


def test_a_budget_in_a_box_over_too_large_a_payload_is_refused_as_it_is(fake, refusal, checkpoint):
    fake.refusals = [refusal(grpc.StatusCode.INVALID_ARGUMENT, "too large to hold", "SKETCH_REQUIRED")]
    with Client(fake.address) as client, pytest.raises(Exception, match="too large to hold"):
        client.compress(checkpoint, rule=ErrorBudget(max_error=1, grade="box"), network=NETWORK).result()
    assert len(fake.requests) == 1, "no sketch can help"


def certificate(**changes) -> NetworkCertificate:
    """Return a certificate as a server would send it."""
    message = pb.NetworkCertificate(node="fc", reaches_output=True, tightest=pb.GRADE_MEAN_SQUARE)
    for grade, error in ((pb.GRADE_BOX, 0.5), (pb.GRADE_BALL, 0.25), (pb.GRADE_MEAN_SQUARE, 0.0123449)):
        message.grades.add(grade=grade, node="fc", output_error_max=error, output_error_l2=2 * error, output_errors=[error])
    message.grades[2].unchanged_share = 0.970051
    spent = {"max_error": 0.1, "cost": 0.09, "certified_error": 0.0123449, "unused": 0.0876551}
    message.budget.CopyFrom(pb.BudgetSpent(**spent, grade=pb.GRADE_MEAN_SQUARE))
    for name, value in changes.items():
        setattr(message, name, value)
    return mirror(NetworkCertificate, message)


def test_every_grade_says_what_it_promises_and_what_not():
    assert certificate().told() == (
        "For every input in the stated box, no output moves by more than 0.5, and all of them together by no more than 1 (l_2 "
        "norm).",
        "For every input in the ball and in the box, as far as either is stated, no output moves by more than 0.25, and all of "
        "them together by no more than 0.5 (l_2 norm).",
        "On average (root mean square) over the distribution of the moments, provided that the moments are those of this "
        "network, no output moves by more than 0.01235, and all of them together by no more than 0.02469 (l_2 norm). "
        "Of the samples that margins and moments were measured on, at least "
        "97.00 % keep their class. A single input can move it further, and inputs of another distribution are not covered.",
        "Of an error of 0.1: on average (root mean square) over the distribution of the moments, provided that the moments "
        "are those of this network, what was cut moves no output by more than 0.01235; 0.08765 is unused. Unless it was "
        "measured already, --measured (measured=True) spends more of it, at the cost of trial cuts.",
    )


def test_a_certificate_that_ends_early_never_speaks_of_the_output():
    told = " ".join(certificate(reaches_output=False).told())
    assert "no output moves" not in told.split("Of an error")[0]
    assert "no value of node 'fc' moves by more than 0.5" in told
    assert "NOTHING is promised of the network's output" in told
    ended = NetworkCertificate(
        "unbounded", endings=(Ending("attention", "unbounded", "no bound is known for softmax attention"),)
    )
    assert ended.told() == (
        "No statement about the whole network: no layer with weights has a bound.",
        "A certificate ends before 'attention': no bound is known for softmax attention.",
    )


@pytest.mark.parametrize("absence", ["no_topology", "no_inputs", "too_large", "no_rule", "4711"])
def test_every_absence_has_a_reason(absence):
    (told,) = NetworkCertificate(absence).told()
    assert told.startswith("No statement about the whole network: ")


def test_a_share_was_no_promise():
    assert "No error was asked for" in BudgetSpent(None, 0.5, 0.25, None, "box").told()


@given(st.floats(0, allow_nan=False, allow_infinity=False))
def test_bounds_stay_bounds_in_words(bound):
    assert float(lower(bound)) <= bound <= float(upper(bound))


def test_bounds_are_written_as_people_write_numbers():
    written = {0.0: "0", 0.12341: "0.1235", 10.0: "10", 120.0: "120", 99999.0: "100000", 1e9: "1e+9"}
    assert {bound: upper(bound) for bound in written} == written


def test_a_grade_is_found_by_its_name():
    assert certificate().grade("ball").output_error_max == 0.25
    assert certificate().grade("mean-square").grade == "mean_square"
    assert NetworkCertificate("no_inputs").grade("box") is None
    assert isinstance(certificate().grades[0], GradeCertificate)


EVERYTHING = pb.Topology(
    output="end",
    nodes=[
        pb.Node(name="x", input=pb.InputNode(shape=[3, 8, 8])),
        pb.Node(name="a", inputs=["x"], conv=pb.ConvNode(weight="w", stride=[2], padding=[1, 0, 1, 0], dilation=[1], groups=3)),
        pb.Node(name="b", inputs=["a"], batch_norm=pb.BatchNormNode(weight="g", mean="m", variance="v", epsilon=1e-5)),
        pb.Node(name="c", inputs=["b"], activation=pb.ActivationNode(kind=pb.ACTIVATION_KIND_CLIP, parameters=[0, 6])),
        pb.Node(name="d", inputs=["c"], pool=pb.PoolNode(kind=pb.POOL_KIND_MAX, kernel=[2], stride=[1], padding=[1])),
        pb.Node(name="e", inputs=["d", "d"], add=pb.AddNode()),
        pb.Node(name="f", inputs=["e", "e"], concat=pb.ConcatNode()),
        pb.Node(name="g", inputs=["f"], global_mean=pb.GlobalMeanNode()),
        pb.Node(name="h", inputs=["g"], reshape=pb.ReshapeNode(shape=[6])),
        pb.Node(name="i", inputs=["h"], affine=pb.AffineNode(scale=[2], shift=[1])),
        pb.Node(name="j", inputs=["i"], linear=pb.LinearNode(weight="u", bias="c", transposed=True)),
        pb.Node(name="k", inputs=["j"], softmax=pb.SoftmaxNode()),
        pb.Node(name="end", inputs=["k"], unbounded=pb.UnboundedNode(what="attention")),
    ],
)


def test_topologies_travel_to_the_math_and_back():
    assert {node.WhichOneof("operation") for node in EVERYTHING.nodes} == {
        field.name for field in pb.Node.DESCRIPTOR.oneofs_by_name["operation"].fields
    }
    assert write_topology(read_topology(EVERYTHING)) == EVERYTHING


@pytest.mark.parametrize(
    "node", [pb.Node(name="x"), pb.Node(name="x", activation=pb.ActivationNode()), pb.Node(name="x", activation={"kind": 99})]
)
def test_unknown_operations_are_refused(node):
    with pytest.raises(InvalidNetwork):
        read_topology(pb.Topology(nodes=[node]))


def test_knowledge_and_moments_travel_to_the_math():
    moments = read_moments(CALIBRATION.to_frames(), {"layer.weight": 4})
    assert moments["layer.weight"].matrix.tolist() == [np.eye(4).tolist()]
    known = read_knowledge(NETWORK.with_inputs(l2_radius=2, margins=[1, 0.5]).to_proto().inputs, moments)
    assert (known.box.low.tolist(), known.box.high.tolist(), known.l2_radius) == ([-1.0], [1.0], 2.0)
    assert known.margins.tolist() == [1.0, 0.5]
    with pytest.raises(InvalidNetwork, match="box"):
        read_knowledge(Network(NETWORK.nodes).with_inputs(box=(1, -1)).to_proto().inputs, {})
    for fan_ins in ({}, {"layer.weight": 3}):
        with pytest.raises(InvalidNetwork, match="not of these tensors"):
            read_moments(CALIBRATION.to_frames(), fan_ins)
