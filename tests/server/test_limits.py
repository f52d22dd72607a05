"""What a call is said to need, worked out by hand, and what it may not go beyond: all from the header alone."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from math import prod

import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_kernels import make_kernels
from ellq_math.network.conv_norms import TURN_WORK
from ellq_math.spectral import gram_work
from ellq_server.header import Header, TensorEntry
from ellq_server.limits import Limits, Needs, limits_of, needed_bytes
from ellq_server.moments import MomentsReader
from ellq_server.network_plans import fit_moments, neuron_axes, read_network
from ellq_server.network_work import LAYER_WORK, NORMS, PASSES, STEP_WORK, VALUE_WORK
from ellq_server.planning import plan_tensors
from ellq_server.refusals import InvalidRequest, TooLarge
from ellq_server.requests import read_analyze, read_compress
from ellq_server.sentence import orders_of
from ellq_server.settings import Settings
from ellq_server.stopwatch import Stopwatch
from ellq_server.workbench import Workbench
from tests.server.wire import HALF

Shapes = dict[str, tuple[str, tuple[int, ...]]]
ITEM_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F8_E4M3": 1}
KERNELS = make_kernels("cpu")

CALL = 128 << 20
NEURON = 400 + 3 * 16  # the indices take three power sums
LIMITS = limits_of(Settings())
POOLED = pb.Rule(scope=pb.SCOPE_GLOBAL, fraction=pb.FractionRule(pruned_ratio=0.5))
TRANSPOSED = pb.Selection(overrides=[pb.TensorOverride(glob="*", neuron_axis=[1])])
UNTOUCHED = pb.Selection(exclude=["*"])
TENSOR: Shapes = {"w": ("F32", (12, 12))}
SCALED: Shapes = {"w.weight_scale": ("F32", (12, 1)), "w.weight": ("F8_E4M3", (12, 12))}

NODES = [
    pb.Node(name="x", input=pb.InputNode(shape=[3])),
    pb.Node(name="fc0", inputs=["x"], linear=pb.LinearNode(weight="fc0", bias="bias")),
    pb.Node(name="relu", inputs=["fc0"], activation=pb.ActivationNode(kind=pb.ACTIVATION_KIND_RELU)),
    pb.Node(name="fc1", inputs=["relu"], linear=pb.LinearNode(weight="fc1")),
]
NETWORK = pb.Network(topology=pb.Topology(nodes=NODES))
LAYERS: Shapes = {"fc1": ("F32", (2, 5)), "bias": ("F32", (5,)), "fc0": ("F32", (5, 3))}
MOMENTS = [pb.Moments(tensor=name, second_moments=[1.0] * shape[1]) for name, (_, shape) in LAYERS.items() if len(shape) > 1]


def needs(
    shapes: Shapes,
    options: pb.AnalyzeOptions | pb.CompressOptions,
    *,
    moments: Sequence[pb.Moments] = (),
    limits: Limits = LIMITS,
) -> Needs:
    reader = MomentsReader(1 << 30)
    for one in moments:
        reader.add(one)
    read = read_analyze if isinstance(options, pb.AnalyzeOptions) else read_compress
    request = read(options, reader.done())
    ends = accumulate((ITEM_BYTES[dtype] * prod(shape) for dtype, shape in shapes.values()), initial=0)
    places = zip(shapes.items(), pairwise(ends), strict=True)
    header = Header(b"", tuple(TensorEntry(name, dtype, shape, *span) for (name, (dtype, shape)), span in places))
    graph = read_network(request, header.tensors)
    planning = plan_tensors(header.tensors, request.selection, neuron_axes(graph))
    rules = [rule for rule in (request.rule, *(plan.rule for plan in planning.compressible)) if rule]
    stopwatch = Stopwatch(lambda stage, seconds: None)
    matrices = fit_moments(request, planning, graph)
    bench = Workbench(KERNELS, request, orders_of(request, rules), stopwatch, graph, matrices)
    return needed_bytes(header, planning, limits, bench)


def pairs(n: int, m: int) -> pb.Rule:
    return pb.Rule(scope=pb.SCOPE_NEURON, n_of_m=pb.NOfMRule(n=n, m=m))


COPIES, SCRATCH = 3 * 4 * 144, 2 * 144


@pytest.mark.parametrize(
    ("shapes", "options", "wanted"),
    [
        ({}, {}, 0),
        (TENSOR, {}, COPIES + SCRATCH + 12 * NEURON),
        (TENSOR, {"selection": UNTOUCHED}, COPIES),
        (TENSOR | {"larger": ("F32", (4, 4, 36))}, {}, 4 * COPIES + 4 * SCRATCH + 4 * NEURON),
        (TENSOR, {"selection": TRANSPOSED}, COPIES + SCRATCH + 12 * NEURON + 4 * 144),
        (TENSOR, {"delivery": pb.DELIVERY_MASK}, COPIES + SCRATCH + 12 * NEURON + 18),
        (TENSOR, {"rule": pairs(1, 5)}, COPIES + SCRATCH + 12 * (NEURON + 3 * 80)),
        (TENSOR, {"selection": pb.Selection(overrides=[pb.TensorOverride(glob="*", rule=pairs(1, 4))])},
         COPIES + SCRATCH + 12 * (NEURON + 3 * 80)),
        ({"w": ("F8_E4M3", (12, 12))}, {}, 3 * 144 + 2 * 2 * 144 + SCRATCH + 12 * NEURON),
        (SCALED, {}, 16 * 12 + 3 * 144 + 2 * 8 * 144 + SCRATCH + 12 * NEURON),
        (SCALED, {"selection": UNTOUCHED}, 3 * 144),
    ],
)  # fmt: skip
def test_what_the_largest_tensor_takes(shapes: Shapes, options: dict[str, object], wanted: int) -> None:
    assert needs(shapes, pb.CompressOptions(**{"rule": HALF, **options})) == Needs(CALL + wanted, held=False)


def test_what_a_distribution_takes() -> None:
    one, other = (needs({"w": ("F32", (12, 10))}, pb.AnalyzeOptions(distribution=asked)).bytes for asked in (False, True))
    assert other - one == 48 * 120 + 400 * (12 + 10)


def test_what_moments_take() -> None:
    moments = [pb.Moments(tensor="w", second_moments=[1.0] * 12)]
    one, other = (needs(TENSOR, pb.CompressOptions(rule=HALF), moments=sent).bytes for sent in ([], moments))
    assert other - one == (4 + 48 + 8) * 144


KEPT_POOL = 576 + 12 * NEURON + 2 * 144  # the payload, its neurons, and what finds the k-th largest


@pytest.mark.parametrize(
    ("shapes", "moments", "wanted"),
    [
        (TENSOR, [], COPIES + SCRATCH + 12 * NEURON + KEPT_POOL),
        (TENSOR | {"bias": ("F32", (5,))}, [], COPIES + SCRATCH + 12 * NEURON + KEPT_POOL + 20),
        (TENSOR, [pb.Moments(tensor="w", second_moments=[1.0] * 12)],
         COPIES + SCRATCH + 12 * NEURON + (4 + 48 + 8) * 144 + KEPT_POOL + (4 + 8) * 144),
        ({"w": ("F8_E4M3", (12, 12))}, [], (3 + 2 * 2 + 2) * 144 + 12 * NEURON + KEPT_POOL - 576 + (1 + 2) * 144),
    ],
)  # fmt: skip
def test_what_a_pool_takes(shapes: Shapes, moments: list[pb.Moments], wanted: int) -> None:
    assert needs(shapes, pb.CompressOptions(rule=POOLED), moments=moments) == Needs(CALL + wanted, held=True)


def test_a_pool_of_nothing_is_not_held() -> None:
    of_its_own = pb.Selection(overrides=[pb.TensorOverride(glob="*", rule=HALF)])
    for selection in (UNTOUCHED, of_its_own):
        assert not needs(TENSOR, pb.CompressOptions(rule=POOLED, selection=selection)).held


FIRST = 3 * 60 + 2 * 15 + 5 * NEURON  # fc0 while it is worked on
HELD = 120 + (5 + 2) * NEURON + 60 + 40  # the payload, neurons of both layers, and both as they came
LARGEST, VALUES = 96 * 15, 96 * (3 + 5 + 5 + 2 + 5)  # of the network: its larger layer; all values, and the most of a step
WORK = 4 * STEP_WORK + 2 * LAYER_WORK + PASSES * (3 + 3 * 5 + 5 + 5 * 2) + VALUE_WORK * (3 + (3 + 5) + (5 + 5) + (5 + 2))
WORK += NORMS * (gram_work(5, 3) + gram_work(2, 5))  # of both layers
FORMS = 3 * 50 * 5**3  # of both outputs and of all together
SPENT = {"max_error": 1.0, "grade": pb.GRADE_MEAN_SQUARE}
BUDGET = pb.Rule(scope=pb.SCOPE_GLOBAL, error_budget=pb.ErrorBudgetRule(**SPENT))
MEASURED = pb.Rule(scope=pb.SCOPE_GLOBAL, error_budget=pb.ErrorBudgetRule(**SPENT, measured=True))


def test_what_a_network_takes() -> None:
    wanted = CALL + FIRST + HELD + LARGEST + VALUES + 20  # the bias
    assert needs(LAYERS, pb.CompressOptions(rule=HALF, network=NETWORK)) == Needs(wanted, held=True)


def test_what_an_error_budget_takes() -> None:
    wanted = CALL + FIRST + (4 + 48 + 2 * 8) * 15 + HELD + (8 + 2) * 25 + LARGEST + VALUES + 20
    assert needs(LAYERS, pb.CompressOptions(rule=BUDGET, network=NETWORK), moments=MOMENTS) == Needs(wanted, held=True)


def test_a_budget_in_a_box_keeps_costs_without_moments() -> None:
    rule = pb.Rule(scope=pb.SCOPE_GLOBAL, error_budget=pb.ErrorBudgetRule(max_error=1.0, grade=pb.GRADE_BOX))
    network = pb.Network(topology=NETWORK.topology, inputs=pb.InputKnowledge(box=pb.Box(low=[-1], high=[1])))
    wanted = CALL + FIRST + HELD + (8 + 2) * 25 + LARGEST + VALUES + 20
    assert needs(LAYERS, pb.CompressOptions(rule=rule, network=network)) == Needs(wanted, held=True)


def test_a_network_may_have_no_layers_and_values_of_unknown_shape() -> None:
    activation = pb.Node(name="relu", inputs=["x"], activation=NODES[2].activation)
    nodes = [NODES[0], activation, pb.Node(name="end", inputs=["relu"], unbounded=pb.UnboundedNode(what="attention"))]
    wanted = CALL + COPIES + SCRATCH + 12 * NEURON + 576 + 12 * NEURON + 96 * (3 + 3 + 3)
    options = pb.CompressOptions(rule=HALF, network=pb.Network(topology=pb.Topology(nodes=nodes)))
    assert needs(TENSOR, options) == Needs(wanted, held=True)


def test_what_the_first_pass_of_an_error_budget_takes() -> None:
    walk = 60 + 96 * 15 + 32 * 2 * (3 + 5 + 5 + 2)  # the larger layer, and what both outputs feel of all values
    options = pb.AnalyzeOptions(rule=BUDGET, network=NETWORK, sketch=pb.SketchOptions())
    assert needs(LAYERS, options, moments=MOMENTS) == Needs(CALL + FIRST + (4 + 48 + 2 * 8) * 15 + walk, held=False)


def test_a_network_that_is_only_analysed_is_not_held() -> None:
    assert not needs(LAYERS, pb.AnalyzeOptions(network=NETWORK)).held


SCALING = pb.BatchNormNode(weight="w", mean="m", variance="v", epsilon=1e-5)
NORMED = [
    pb.Node(name="x", input=pb.InputNode(shape=[4, 3, 3])),
    pb.Node(name="conv", inputs=["x"], conv=pb.ConvNode(weight="conv", groups=2)),
    pb.Node(name="norm", inputs=["conv"], batch_norm=SCALING),
]
GROUPS = pb.Network(topology=pb.Topology(nodes=NORMED))
CHANNELS: Shapes = dict.fromkeys("wmv", ("F32", (4,))) | {"conv": ("F32", (4, 2, 1, 1))}


def test_zeros_between_groups_of_channels_are_counted() -> None:
    one = 3 * 32 + 2 * 8 + 4 * NEURON
    held = 80 + 4 * NEURON + 32 + 96 * 16 + 96 * 4 * 36 + 3 * 16
    assert needs(CHANNELS, pb.CompressOptions(rule=HALF, network=GROUPS)) == Needs(CALL + one + held, held=True)
    options = pb.AnalyzeOptions(rule=BUDGET, network=GROUPS, sketch=pb.SketchOptions())
    moments = [pb.Moments(tensor="conv", second_moments=[1.0] * 4)]
    walk = 32 + 96 * 16 + 2 * 16 + 32 * 4 * (4 + 4 + 4)  # of the normalisation only what it multiplies by
    assert needs(CHANNELS, options, moments=moments).bytes == CALL + one + (4 + 48 + 2 * 8) * 8 + walk


def test_the_limits_fit_into_the_memory() -> None:
    allowed = limits_of(Settings.model_construct(memory_bytes=CALL + 1200, moments_bytes=1000))
    assert (allowed.tensor_bytes, allowed.pooled_payload_bytes, allowed.moments_bytes) == (400, 300, 600)
    assert limits_of(Settings.model_construct(memory_bytes=CALL + 1200, tensor_bytes=7, moments_bytes=8)).tensor_bytes == 7
    assert limits_of(Settings.model_construct(memory_bytes=CALL + 1200, tensor_bytes=7, moments_bytes=8)).moments_bytes == 8
    least = limits_of(Settings.model_construct(memory_bytes=1))
    assert (least.tensor_bytes, least.pooled_payload_bytes, least.moments_bytes) == (1, 1, 0)


LASSO = pb.Rule(scope=pb.SCOPE_NEURON, lasso=pb.LassoRule(epsilon=0.1))
OWN_LASSO = pb.Selection(overrides=[pb.TensorOverride(glob="w", rule=LASSO)])
SYMBOLS = 2 * (2 * 2 * 2 + gram_work(2 * 2, 2 * 2)) + TURN_WORK  # a tap of 1 x 1 has one frequency
OF_CHANNELS = 3 * STEP_WORK + LAYER_WORK + PASSES * (36 + 2 * 36 + 36) + VALUE_WORK * (36 + (36 + 36) + (36 + 36))
OF_CHANNELS += NORMS * (2 * gram_work(2, 2) + SYMBOLS)
MATRIX = [pb.Moments(tensor="w", second_moments=[1.0] * 12, matrix=bytes(8 * 144))]


@pytest.mark.parametrize(
    ("shapes", "asked", "limit", "least", "reason"),
    [
        (TENSOR, {}, "tensor_bytes", 576, "TENSOR_TOO_LARGE"),
        (TENSOR | {"v": ("F32", (3,))}, {}, "payload_bytes", 588, "PAYLOAD_TOO_LARGE"),
        (TENSOR, {}, "memory_bytes", CALL + COPIES + SCRATCH + 12 * NEURON, "TENSOR_TOO_LARGE"),
        (TENSOR, {"rule": POOLED}, "pooled_payload_bytes", 576, "SKETCH_REQUIRED"),
        (TENSOR, {"rule": POOLED}, "memory_bytes", CALL + COPIES + SCRATCH + 12 * NEURON + KEPT_POOL, "SKETCH_REQUIRED"),
        (LAYERS, {"network": NETWORK}, "network_work", WORK, "NETWORK_TOO_LARGE"),
        (LAYERS, {"network": NETWORK, "moments": MOMENTS}, "network_work", WORK + FORMS, "NETWORK_TOO_LARGE"),
        (LAYERS, {"network": NETWORK, "moments": MOMENTS, "rule": BUDGET}, "network_work", WORK + FORMS, "NETWORK_TOO_LARGE"),
        (LAYERS, {"network": NETWORK, "moments": MOMENTS, "rule": MEASURED}, "network_work", 17 * (WORK + FORMS),
         "NETWORK_TOO_LARGE"),
        (TENSOR, {"rule": LASSO, "moments": MATRIX}, "network_work", 1000 * 12**3, "NETWORK_TOO_LARGE"),
        (TENSOR, {"selection": OWN_LASSO, "moments": MATRIX}, "network_work", 1000 * 12**3, "NETWORK_TOO_LARGE"),
        (CHANNELS, {"network": GROUPS}, "network_work", OF_CHANNELS, "NETWORK_TOO_LARGE"),
    ],
)  # fmt: skip
def test_what_just_fits_is_taken_and_one_less_refused(
    shapes: Shapes, asked: dict[str, object], limit: str, least: int, reason: str
) -> None:
    options = dict(asked)
    moments = options.pop("moments", [])
    compress = pb.CompressOptions(**{"rule": HALF, **options})
    needs(shapes, compress, moments=moments, limits=replace(LIMITS, **{limit: least}))
    with pytest.raises((TooLarge, InvalidRequest), match=str(least - 1)) as caught:
        needs(shapes, compress, moments=moments, limits=replace(LIMITS, **{limit: least - 1}))
    assert caught.value.reason == reason


def test_a_stream_without_tensors_fits_whatever_the_memory() -> None:
    assert needs({}, pb.CompressOptions(rule=HALF), limits=replace(LIMITS, memory_bytes=1)) == Needs(CALL, held=False)


@pytest.mark.parametrize("limit", ["tensor_bytes", "memory_bytes", "network_work"])
def test_long_names_are_cut_short_in_what_is_said(limit: str) -> None:
    moments = [pb.Moments(tensor="w" * 9000, second_moments=[1.0] * 12, matrix=bytes(8 * 144))]
    with pytest.raises(TooLarge) as caught:
        needs({"w" * 9000: TENSOR["w"]}, pb.CompressOptions(rule=LASSO), moments=moments, limits=replace(LIMITS, **{limit: 1}))
    assert len(str(caught.value)) < 500


def test_a_network_too_large_to_hold_goes_without_its_certificate_unless_something_hangs_on_it() -> None:
    small = replace(LIMITS, pooled_payload_bytes=119)
    assert needs(LAYERS, pb.CompressOptions(rule=HALF, network=NETWORK), limits=small) == Needs(CALL + FIRST, held=False)
    for asked, text in (
        ({"remove_dead_neurons": True}, "dead_neurons cannot be had"),
        ({"rule": BUDGET}, "call Analyze"),
    ):
        with pytest.raises(InvalidRequest, match=text):
            needs(LAYERS, pb.CompressOptions(**{"rule": HALF, "network": NETWORK, **asked}), moments=MOMENTS, limits=small)
