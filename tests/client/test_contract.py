"""A server that breaks the contract is found out, and nothing of its answer is left."""

import math

import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_client import Client, Fraction, ProtocolError
from ellq_client.actions import RECEIVE, Open
from ellq_client.conversations import describe
from ellq_client.retrying import Deadline, Patience

# The frames of a good answer to `checkpoint`: manifest, three plans, header, two reports, their neurons (none: both pass
# through), their data, one report, its neurons in three frames, its data, summary.
MANIFEST, FIRST_PLAN, HEADER, REPORTS, DATA, LAST_REPORT, NEURONS, LAST_DATA, SUMMARY = 0, 1, 4, 5, 6, 7, 8, 11, 12
LAST_PLAN = HEADER - 1
KINDS = [
    "manifest",
    "plans",
    "plans",
    "plans",
    "data",
    "reports",
    "data",
    "reports",
    "neurons",
    "neurons",
    "neurons",
    "data",
    "summary",
]


def drop(place):
    return lambda frames: frames[:place] + frames[place + 1 :]


def twice(place):
    return lambda frames: frames[: place + 1] + frames[place:]


def swap(one, other):
    def damage(frames):
        frames[one], frames[other] = frames[other], frames[one]
        return frames

    return damage


def change(place, **changes):
    """Set fields by path; `report__name` is frames[place].reports.reports[0].name."""

    def damage(frames):
        frame = frames[place]
        for path, value in changes.items():
            *parents, name = path.split("__")
            message = getattr(frame, frame.WhichOneof("frame"))
            for parent in parents:
                message = getattr(message, parent)
                message = message[0] if hasattr(message, "append") else message
            setattr(message, name, value)
        return frames

    return damage


def data(place, edit):
    def damage(frames):
        frames[place].data = edit(frames[place].data)
        return frames

    return damage


def insert(place, **frame):
    return lambda frames: [*frames[:place], pb.CompressResponse(**frame), *frames[place:]]


BREACHES = {
    "nothing at all": lambda frames: [],
    "no manifest": drop(MANIFEST),
    "two manifests": twice(MANIFEST),
    "a manifest of other bytes": change(MANIFEST, payload_bytes=1),
    "a manifest of another header": lambda frames: change(MANIFEST, header_bytes=100, payload_bytes=224)(frames),
    "more tensors in the manifest": change(MANIFEST, tensors=4),
    "fewer tensors in the manifest": change(MANIFEST, tensors=2),
    "a plan missing": drop(FIRST_PLAN),
    "plans out of order": swap(FIRST_PLAN, FIRST_PLAN + 1),
    "one plan too many": twice(FIRST_PLAN),
    "no header": drop(HEADER),
    "half a header": data(HEADER, lambda header: header[: len(header) // 2]),
    "another header": data(HEADER, lambda header: header.replace(b"steps", b"stops")),
    "a header too long": data(HEADER, lambda header: header + b" "),
    "bytes before plans": swap(HEADER, FIRST_PLAN),
    "a report missing": drop(REPORTS),
    "reports twice": twice(REPORTS),
    "reports out of order": swap(REPORTS, LAST_REPORT),
    "a report under another name": change(REPORTS, reports__name="other"),
    "a report without payload": lambda frames: frames[REPORTS].reports.reports[0].ClearField("payload") or frames,
    "a measurement missing": lambda frames: frames[LAST_REPORT].reports.reports[0].ClearField("measurement") or frames,
    "a measurement too many": lambda frames: frames[REPORTS].reports.reports[0].measurement.SetInParent() or frames,
    "data missing": drop(DATA),
    "data twice": twice(DATA),
    "data too short": data(DATA, lambda payload: payload[:-1]),
    "data too long": data(DATA, lambda payload: payload + b"\0"),
    "one bit of the data": data(LAST_DATA, lambda payload: bytes([payload[0] ^ 1]) + payload[1:]),
    "another digest": change(REPORTS, reports__payload__sha256=bytes(32)),
    "a plan of another name": change(FIRST_PLAN, plans__name="other"),
    "a plan of another dtype": change(FIRST_PLAN, plans__dtype="F32"),
    "a plan of another shape": lambda frames: frames[FIRST_PLAN].plans.plans[0].shape.append(1) or frames,
    "another length": change(REPORTS, reports__payload__length_bytes=3),
    "neurons missing": drop(NEURONS),
    "neurons twice": twice(NEURONS),
    "neurons out of order": swap(NEURONS, NEURONS + 1),
    "neurons of another tensor": change(NEURONS, tensor=1),
    "neurons after the data": swap(NEURONS + 2, LAST_DATA),
    "neurons without counts": lambda frames: frames[NEURONS].neurons.ClearField("kept") or frames,
    "no neurons in a frame": insert(NEURONS, neurons=pb.NeuronReports(tensor=2)),
    "an unknown frame": insert(REPORTS),
    "no summary": drop(SUMMARY),
    "two summaries": twice(SUMMARY),
    "a summary too early": swap(LAST_DATA, SUMMARY),
    "a summary of other tensors": change(SUMMARY, tensors=2),
}


def test_the_frames_are_those_the_breaches_speak_of(fake, checkpoint):
    seen = []
    fake.damage = lambda frames: seen.extend(frame.WhichOneof("frame") for frame in frames) or frames
    with Client(fake.address) as client:
        client.compress(checkpoint, rule=Fraction(pruned_ratio=0.5), neurons=True).result()
    assert seen == KINDS


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_found_out(fake, checkpoint, tmp_path, breach):
    fake.damage = BREACHES[breach]
    output = tmp_path / "small.safetensors"
    output.write_text("older")
    with Client(fake.address) as client, pytest.raises(ProtocolError):
        client.compress(checkpoint, output, rule=Fraction(pruned_ratio=0.5), neurons=True).result()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "small.safetensors"]
    assert output.read_text() == "older"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (change(LAST_REPORT, reports__measurement__neurons=1 << 60), "neurons, fan-in and weights of 'layer.weight'"),
        (change(LAST_REPORT, reports__measurement__fan_in=5), "neurons, fan-in and weights of 'layer.weight'"),
        (change(LAST_REPORT, reports__measurement__weights=21), "neurons, fan-in and weights of 'layer.weight'"),
        (change(LAST_PLAN, plans__neurons=1 << 60), "1152921504606846976 neurons of 4 weights, of 20"),
        (change(LAST_PLAN, plans__fan_in=3), "5 neurons of 3 weights, of 20"),
        (change(FIRST_PLAN, plans__neurons=1 << 60), "1152921504606846976 neurons of 0 weights, of 0"),
        (lambda frames: frames[LAST_PLAN].plans.plans[0].neuron_axis.extend([1, 1]) or frames, "more axes of neurons"),
    ],
)
def test_neurons_are_those_of_the_shape_before_any_of_them_comes(fake, checkpoint, damage, told):
    """Otherwise a server could fill the memory of its client without end."""
    fake.damage = damage
    with Client(fake.address) as client, pytest.raises(ProtocolError, match=told):
        client.compress(checkpoint, rule=Fraction(pruned_ratio=0.5), neurons=True).result()


@pytest.mark.parametrize("number", [math.nan, -math.inf])
@pytest.mark.parametrize("column", ["sparsity_index", "pq_index", "tail_l1", "tail_l2"])
def test_what_is_no_number_is_none_of_a_neuron_either(fake, checkpoint, column, number):
    def damage(frames):
        getattr(frames[NEURONS].neurons, column)[1] = number
        return frames

    fake.damage = damage
    with (
        Client(fake.address) as client,
        pytest.raises(ProtocolError, match=f"{column} of neurons of 'layer.weight' is {number}"),
    ):
        client.compress(checkpoint, rule=Fraction(pruned_ratio=0.5), neurons=True).result()


def test_the_infinities_of_a_real_server_are_taken(client):
    """Of a row at the end of the doubles the l_1 norm is beyond them, and so is what is cut of it."""
    tiny, huge = np.nextafter(0.0, 1.0), np.finfo(np.float64).max
    rows = np.array([[huge] * 8, [tiny] * 8, [0.0] * 8, [huge] + [tiny] * 7, [huge, -huge] + [0.0] * 6])
    result = client.compress({"w": rows}, rule=Fraction(pruned_ratio=0.75), neurons=True, q=0.05).result()
    neurons = result["w"].neurons
    assert neurons.tail_l1[0] == result["w"].measurement.l1 == math.inf
    assert not np.isnan([neurons.sparsity_index, neurons.pq_index, neurons.tail_l1, neurons.tail_l2]).any()


def listed(tensors=2, header_bytes=200):
    return pb.AnalyzeResponse(manifest=pb.Manifest(header_bytes=header_bytes, payload_bytes=8, tensors=tensors))


def plan(name="a", **told):
    told = {"dtype": "F32", "shape": [1], "treatment": pb.TREATMENT_PASS_THROUGH, **told}
    return pb.AnalyzeResponse(plans=pb.TensorPlans(plans=[pb.TensorPlan(name=name, **told)]))


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        ([plan()], "more plans than tensors"),
        ([listed(), listed()], "the manifest comes once, first"),
        ([listed(header_bytes=8)], "a header of 8 bytes"),
        ([listed(header_bytes=100_000_009)], "a header of 100000009 bytes; allowed are up to 100000008"),
        ([listed(), plan(), plan("b"), plan("c")], "more plans than tensors"),
        ([listed(tensors=10**9), plan(), plan("b"), plan("c"), plan("d")], "more than a header of 200 bytes holds"),
        ([listed(), plan("a" * 200)], "more than a header of 200 bytes holds"),
        ([listed(), plan(shape=[1] * 200)], "more than a header of 200 bytes holds"),
        ([listed(), plan(shape=[4, 5], neurons=1 << 60, treatment=pb.TREATMENT_COMPRESS)], "neurons of 0 weights, of 20"),
    ],
)
def test_what_a_server_lists_of_an_object_ends_with_what_its_header_holds(frames, told):
    """Found out by the frame that goes too far: whoever waited for the end of the answer could wait for ever."""
    asked = describe("s3://models/a.safetensors", Deadline(Patience(timeout_seconds=600, max_attempts=1)))
    assert isinstance(next(asked), Open)
    assert asked.send(None) is RECEIVE
    for frame in frames[:-1]:
        assert asked.send(frame) is RECEIVE
    with pytest.raises(ProtocolError, match=told):
        asked.send(frames[-1])


def test_bytes_have_no_place_in_an_analysis(fake, checkpoint):
    def damage(frames):
        frames[-2].reports.reports[0].payload.length_bytes = 0
        return frames

    fake.damage = damage
    with Client(fake.address) as client, pytest.raises(ProtocolError, match="payload"):
        client.analyze(checkpoint).result()
