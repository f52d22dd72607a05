"""What a call really takes is within what the server reserves for it, for every shape that makes it take more."""

import json
from collections.abc import Iterator

import grpc
import ml_dtypes
import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_kernels import make_kernels
from ellq_server.admission import Admission
from ellq_server.footprints import TENSORS_AT_HAND
from ellq_server.header import parse_header
from ellq_server.limits import CALL_BYTES, limits_of, needed_bytes
from ellq_server.moments import MomentsReader
from ellq_server.network_plans import fit_moments, neuron_axes, read_network
from ellq_server.planning import plan_tensors
from ellq_server.refusals import Busy, TooLarge
from ellq_server.requests import read_analyze, read_compress
from ellq_server.sentence import orders_of
from ellq_server.settings import Settings
from ellq_server.stopwatch import Stopwatch
from ellq_server.workbench import Workbench
from tests.server.process import Process
from tests.server.wire import HALF, cut, stream_of, with_header

PAIRS = pb.Rule(scope=pb.SCOPE_NEURON, n_of_m=pb.NOfMRule(n=1, m=2))
TAIL = pb.Rule(scope=pb.SCOPE_LAYER, tail=pb.TailRule(epsilon=0.1, p=2))
POOLED = pb.Rule(scope=pb.SCOPE_GLOBAL, sparsity_index=pb.SparsityIndexRule(q=0.3))
TRANSPOSED = pb.Selection(overrides=[pb.TensorOverride(glob="*", neuron_axis=[1])])

SHAPES = {
    "square": ((2048, 4096), "F32", {"rule": HALF}),
    "single weights": ((2_000_000, 1), "BF16", {"rule": HALF}),
    "small kernels": ((1_000_000, 1, 3, 3), "F32", {"rule": HALF}),
    "pairs": ((2048, 4096), "BF16", {"rule": PAIRS}),
    "transposed": ((2048, 4096), "F32", {"rule": HALF, "selection": TRANSPOSED}),
    "layer tail": ((2048, 4096), "F32", {"rule": TAIL}),
    "pooled": ((2048, 4096), "F32", {"rule": POOLED}),
    "distribution": ((1024, 1024), "BF16", {"distribution": True}),
    "distribution of a column": ((200_000, 1), "F32", {"distribution": True}),
}


@pytest.fixture
def process() -> Iterator[Process]:
    with Process() as started:
        yield started


@pytest.mark.parametrize("case", SHAPES)
def test_a_call_takes_no_more_than_it_reserves(process: Process, case: str) -> None:
    shape, dtype, wanted = SHAPES[case]
    bits = np.random.default_rng(0).integers(0, 0x3F80, np.prod(shape) * (1 if dtype == "BF16" else 2)).astype(np.uint16)
    raw = bits.tobytes()
    text = json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(raw)]}}).encode()
    options = pb.AnalyzeOptions(**wanted)
    frames = [pb.AnalyzeRequest(options=options), pb.AnalyzeRequest(data=with_header(text))]
    before = process.peak_memory_bytes()
    body = (pb.AnalyzeRequest(data=data) for data in cut(raw, 1 << 20))
    for _ in process.caller.stub.Analyze(iter([*frames, *body]), timeout=120):
        pass
    assert process.peak_memory_bytes() - before <= reserved(text, options)


EIGHT_BITS = {
    "stored values": {"rule": HALF},
    "transposed": {"rule": HALF, "selection": TRANSPOSED},
    "pooled": {"rule": POOLED},
    "a number for each weight": {"rule": HALF},
    "masks": {"rule": HALF, "delivery": pb.DELIVERY_MASK},
}


@pytest.mark.parametrize("case", EIGHT_BITS)
def test_8_bit_weights_take_no_more_than_is_reserved_for_them_widened(process: Process, case: str) -> None:
    shape = (2_000_000, 1) if case == "a number for each weight" else (2048, 4096)
    weights = np.random.default_rng(0).integers(0, 0x7E, shape).astype(np.uint8)
    scale = np.random.default_rng(1).uniform(0.1, 1, (shape[0], 1)).astype(np.float32)
    tensors: dict[str, np.ndarray] = {}
    for layer in "ab":  # two, so that one is on its way out while the other is at work
        tensors |= {} if case == "stored values" else {f"{layer}.weight_scale": scale}
        tensors[f"{layer}.weight"] = weights.view(ml_dtypes.float8_e4m3fn)
    stream, options = stream_of(tensors), pb.CompressOptions(**EIGHT_BITS[case])
    frames = [pb.CompressRequest(options=options)]
    before = process.peak_memory_bytes()
    for _ in process.caller.stub.Compress(iter([*frames, *map(as_frame, cut(stream, 1 << 20))]), timeout=120):
        pass
    assert process.peak_memory_bytes() - before <= reserved(stream[8 : 8 + int.from_bytes(stream[:8], "little")], options)


def as_frame(data: bytes) -> pb.CompressRequest:
    return pb.CompressRequest(data=data)


def reserved(text: bytes, options: pb.AnalyzeOptions | pb.CompressOptions) -> int:
    request = read_analyze(options) if isinstance(options, pb.AnalyzeOptions) else read_compress(options)
    header = parse_header(b"", text, most_tensors=10)
    planning = plan_tensors(header.tensors, request.selection)
    orders = orders_of(request, [request.rule] if request.rule else [])
    bench = Workbench(make_kernels("cpu"), request, orders, Stopwatch(lambda stage, seconds: None))
    return needed_bytes(header, planning, limits_of(Settings()), bench).bytes


def test_room_is_reserved_for_masks() -> None:
    stream = stream_of({"w": np.ones((100, 1001), np.float32)})
    text = stream[8 : 8 + int.from_bytes(stream[:8], "little")]
    whole, masks = (pb.CompressOptions(rule=HALF, delivery=delivery) for delivery in (pb.DELIVERY_WHOLE, pb.DELIVERY_MASK))
    assert reserved(text, masks) - reserved(text, whole) == 12_513  # a bit a weight


def test_a_long_stream_takes_no_more_than_one_of_its_tensors(process: Process) -> None:
    tensor = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
    spans = {f"w{i}": [i * tensor.nbytes, (i + 1) * tensor.nbytes] for i in range(100)}
    header = {name: {"dtype": "F32", "shape": [1024, 1024], "data_offsets": span} for name, span in spans.items()}

    def frames() -> Iterator[pb.CompressRequest]:
        yield pb.CompressRequest(options=pb.CompressOptions(rule=HALF))
        yield pb.CompressRequest(data=with_header(json.dumps(header).encode()))
        for _ in spans:
            yield from (pb.CompressRequest(data=data) for data in cut(tensor.tobytes(), 1 << 20))

    before = process.peak_memory_bytes()
    received = sum(len(frame.data) for frame in process.caller.stub.Compress(frames(), timeout=120))
    assert received > 100 * tensor.nbytes
    assert process.peak_memory_bytes() - before < CALL_BYTES + TENSORS_AT_HAND * tensor.nbytes


def test_a_claim_of_gigabytes_costs_nothing_until_they_come(process: Process) -> None:
    size = 1 << 30
    header = {"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    frames = [pb.CompressRequest(options=pb.CompressOptions(rule=HALF))]
    frames += [pb.CompressRequest(data=with_header(json.dumps(header).encode(), b"only this"))]
    before = process.peak_memory_bytes()
    with pytest.raises(grpc.RpcError, match="with 9 of 1073741824 bytes"):
        list(process.caller.stub.Compress(iter(frames), timeout=60))
    assert process.peak_memory_bytes() - before < CALL_BYTES


def test_refused_weights_are_let_go_at_once(process: Process) -> None:
    """Not when the garbage collector comes by: their memory is no longer reserved."""
    weights = np.ones((4000, 4000), np.float32)
    weights[-1, -1] = np.nan
    stream = stream_of({"w": weights})
    before = process.peak_memory_bytes()
    for _ in range(10):
        assert process.caller.refused(stream).reason == "NONFINITE_WEIGHT"
    assert process.peak_memory_bytes() - before < CALL_BYTES + TENSORS_AT_HAND * weights.nbytes


def test_memory_that_is_reserved_is_not_given_twice() -> None:
    admission = Admission(concurrent_calls=2, memory_bytes=100)
    with admission.call() as one, admission.call() as other, one.memory(60):
        with pytest.raises(Busy), other.memory(60):
            pass
        with other.memory(40):
            assert admission.reserved_bytes == 100
    assert admission.reserved_bytes == 0


def test_what_never_fits_beside_what_a_call_holds_is_refused_for_good() -> None:
    admission = Admission(concurrent_calls=2, memory_bytes=100)
    with admission.call() as one, admission.call() as other:
        with one.memory(60):
            with pytest.raises(TooLarge, match="41 bytes of memory beside the 60 that it holds") as caught, one.memory(41):
                pass
            assert caught.value.reason == "PAYLOAD_TOO_LARGE"
            with pytest.raises(Busy), other.memory(41):  # later it will
                pass
            with other.memory(20), pytest.raises(Busy), one.memory(40):
                pass
        assert (one.held_bytes, other.held_bytes, admission.reserved_bytes) == (0, 0, 0)


WIDE = {"fc0.weight": (4096, 1024), "fc1.weight": (64, 4096)}
NODES = [
    pb.Node(name="x", input=pb.InputNode(shape=[1024])),
    pb.Node(name="fc0", inputs=["x"], linear=pb.LinearNode(weight="fc0.weight")),
    pb.Node(name="relu", inputs=["fc0"], activation=pb.ActivationNode(kind=pb.ACTIVATION_KIND_RELU)),
    pb.Node(name="fc1", inputs=["relu"], linear=pb.LinearNode(weight="fc1.weight")),
]
UNIT_BOX = pb.InputKnowledge(box=pb.Box(low=[-1], high=[1]))
WIDE_NETWORK = pb.Network(topology=pb.Topology(nodes=NODES), inputs=UNIT_BOX)
BUDGET = pb.Rule(scope=pb.SCOPE_GLOBAL, error_budget=pb.ErrorBudgetRule(max_error=10, grade=pb.GRADE_MEAN_SQUARE))


@pytest.mark.parametrize("rule", [HALF, BUDGET], ids=["half", "budget"])
def test_a_network_takes_no_more_than_it_reserves(process: Process, rule: pb.Rule) -> None:
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal(shape).astype(np.float32) / 32 for name, shape in WIDE.items()}
    moments = [pb.Moments(tensor=name, second_moments=[1.0] * shape[1]) for name, shape in WIDE.items()]
    stream = stream_of(weights)
    options = {"network": WIDE_NETWORK, "remove_dead_neurons": True}
    before = process.peak_memory_bytes()
    answer = process.caller.compress(stream, rule, moments=moments, **options)
    taken = process.peak_memory_bytes() - before
    assert len(answer.summary.network.grades) == 3
    assert taken <= reserved_for_network(stream, pb.CompressOptions(rule=rule, **options), moments)


def reserved_for_network(stream: bytes, options: pb.CompressOptions, moments: list[pb.Moments]) -> int:
    reader = MomentsReader(1 << 30)
    for one in moments:
        reader.add(one)
    request = read_compress(options, reader.done())
    header = parse_header(b"", stream[8 : 8 + int.from_bytes(stream[:8], "little")], most_tensors=10)
    graph = read_network(request, header.tensors)
    planning = plan_tensors(header.tensors, request.selection, neuron_axes(graph))
    assert request.rule is not None
    orders, stopwatch = orders_of(request, [request.rule]), Stopwatch(lambda stage, seconds: None)
    bench = Workbench(make_kernels("cpu"), request, orders, stopwatch, graph, fit_moments(request, planning, graph))
    needed = needed_bytes(header, planning, limits_of(Settings()), bench)
    assert needed.held
    return needed.bytes
