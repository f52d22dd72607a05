"""An error budget over weights that no call holds: passes of sketches cut the same weights as one call that holds them all."""

import json
from collections.abc import Callable, Iterable, Iterator

import grpc
import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_server.limits import CALL_BYTES
from tests.server import perceptron
from tests.server.process import Process
from tests.server.wire import Caller, Refusal, cut, gather, read_refusal, stream_of, with_header

WEIGHTS = perceptron.tensors()
WEIGHTS["fc1.weight"][0, :3] = 0
X = perceptron.samples()
X[:, 2] = 0  # so that weights that are not zero cost nothing
MOMENTS = perceptron.moments(WEIGHTS, X)
NETWORK = perceptron.network()
BESIDE = {"counter": np.zeros(20_000, np.int64), "beside.weight": np.ones((30, 50), np.float32)}
TENSORS = WEIGHTS | BESIDE
LAST_FIRST = dict(reversed(TENSORS.items()))
STREAM = stream_of(TENSORS)


def budget(**wanted: object) -> pb.Rule:
    return pb.Rule(scope=pb.SCOPE_GLOBAL, error_budget=pb.ErrorBudgetRule(**{"grade": pb.GRADE_MEAN_SQUARE} | wanted))


RULES = {
    "error": budget(max_error=0.3),
    "tiny error": budget(max_error=1e-9),
    "generous error": budget(max_error=1e9),
    "share": budget(pruned_ratio=0.5),
}
ASKED = {"network": NETWORK, "moments": MOMENTS}


@pytest.fixture(scope="module")
def small(serve: Callable[..., Caller]) -> Caller:
    """A server that holds a quarter of 600 000 bytes of payload, less than the tensors have."""
    return serve(memory_bytes=CALL_BYTES + 600_000)


def passes(caller: Caller, rule: pb.Rule, first: bytes, stream: bytes, **options: object) -> list[pb.Sketch]:
    sketches = [caller.analyze(first, rule=rule, sketch=pb.SketchOptions(), **options).summary.sketch]
    while not sketches[-1].final:
        asked = pb.SketchOptions(previous=sketches[-1])
        sketches.append(caller.analyze(stream, rule=rule, sketch=asked, **options).summary.sketch)
        assert len(sketches) <= 4
    return sketches


def written(data: bytes) -> dict[str, np.ndarray]:
    place, found = 8 + int.from_bytes(data[:8], "little"), {}
    for name, array in TENSORS.items():
        found[name] = np.frombuffer(data, array.dtype, array.size, place).reshape(array.shape)
        place += array.nbytes
    return found


@pytest.mark.parametrize("ignore_zeros", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_passes_cut_what_one_call_cuts(caller: Caller, small: Caller, rule: str, ignore_zeros: bool) -> None:
    asked = {**ASKED, "ignore_zeros": ignore_zeros}
    assert small.refused(STREAM, RULES[rule], **asked).reason == "SKETCH_REQUIRED"
    sketches = passes(small, RULES[rule], stream_of(LAST_FIRST), STREAM, **asked)
    assert len(sketches) <= (3 if "error" in rule else 2)
    cut = small.compress(STREAM, RULES[rule], sketch=sketches[-1], **asked)
    held = caller.compress(STREAM, RULES[rule], **asked)
    assert cut.data == held.data
    assert cut.reports == held.reports
    assert cut.summary.network.budget.cost == held.summary.network.budget.cost


def test_a_server_that_can_hold_the_payload_takes_the_sketch_too(caller: Caller, small: Caller) -> None:
    sketch = passes(small, RULES["error"], stream_of(LAST_FIRST), STREAM, **ASKED)[-1]
    assert caller.compress(STREAM, RULES["error"], sketch=sketch, **ASKED).data == (
        small.compress(STREAM, RULES["error"], sketch=sketch, **ASKED).data
    )


def test_sketches_of_passes_are_the_same_from_any_server(caller: Caller, small: Caller) -> None:
    first, rule = stream_of(LAST_FIRST), RULES["error"]
    assert passes(caller, rule, first, STREAM, **ASKED) == passes(small, rule, first, first, **ASKED)


def test_the_budget_is_never_exceeded_and_the_rest_is_told(small: Caller) -> None:
    sketch = passes(small, RULES["error"], stream_of(LAST_FIRST), STREAM, **ASKED)[-1]
    answer = small.compress(STREAM, RULES["error"], sketch=sketch, **ASKED)
    found, allowed = answer.summary.network, RULES["error"].error_budget.max_error
    assert found.absence == pb.NETWORK_CERTIFICATE_ABSENCE_TOO_LARGE
    assert not found.grades
    assert found.budget.certified_error == found.budget.cost <= allowed == found.budget.max_error
    assert found.budget.unused == allowed - found.budget.cost
    moved = perceptron.forward(WEIGHTS, X)[0] - perceptron.forward(written(answer.data), X)[0]
    assert 0 < np.sqrt((moved**2).mean(axis=0)).max() <= found.budget.cost


def test_the_first_pass_holds_one_layer_at_a_time() -> None:
    """Of 130 layers, which alone are more than everything that the call may take."""
    layers, weights = range(130), np.random.default_rng(6).normal(size=(600, 600)).astype(np.float32) / 600
    topology = pb.Topology(nodes=[pb.Node(name="x", input=pb.InputNode(shape=[600]))])
    for layer in layers:
        linear = pb.LinearNode(weight=f"w{layer}")
        topology.nodes.append(pb.Node(name=f"n{layer}", inputs=[topology.nodes[-1].name], linear=linear))
    spans = {f"w{129 - place}": [place * weights.nbytes, (place + 1) * weights.nbytes] for place in layers}
    header = {name: {"dtype": "F32", "shape": [600, 600], "data_offsets": span} for name, span in spans.items()}
    options = pb.AnalyzeOptions(rule=RULES["error"], sketch=pb.SketchOptions(), network=pb.Network(topology=topology))

    def frames() -> Iterator[pb.AnalyzeRequest]:
        yield pb.AnalyzeRequest(options=options)
        yield from (pb.AnalyzeRequest(moments=pb.Moments(tensor=name, second_moments=[1.0] * 600)) for name in spans)
        yield pb.AnalyzeRequest(data=with_header(json.dumps(header).encode()))
        for _ in spans:
            yield from (pb.AnalyzeRequest(data=data) for data in cut(weights.tobytes(), 1 << 20))

    with Process() as process:
        before = process.peak_memory_bytes()
        answer = gather(process.caller.stub.Analyze(frames(), timeout=120))
        assert len(answer.summary.sketch.sensitivities) == len(layers)
        assert process.peak_memory_bytes() - before < len(layers) * weights.nbytes


def test_of_a_share_the_cost_is_told(small: Caller) -> None:
    sketch = passes(small, RULES["share"], stream_of(LAST_FIRST), STREAM, **ASKED)[-1]
    spent = small.compress(STREAM, RULES["share"], sketch=sketch, **ASKED).summary.network.budget
    assert spent.cost > 0
    assert not spent.HasField("unused")


def ordered(names: Iterable[str]) -> bytes:
    return stream_of({name: TENSORS[name] for name in names})


def analysis_refused(caller: Caller, stream: bytes, rule: pb.Rule = RULES["error"], **options: object) -> Refusal:
    asked = {"sketch": pb.SketchOptions(), **ASKED} | options
    with pytest.raises(grpc.RpcError) as raised:
        caller.analyze(stream, rule=rule, **asked)
    return read_refusal(raised.value)


def test_the_first_pass_wants_the_last_layer_first_and_says_so(small: Caller) -> None:
    refusal = analysis_refused(small, STREAM)
    assert refusal.reason == "INVALID_SKETCH"
    assert "brings tensor 'fc1.weight' where 'fc2.weight' is wanted" in refusal.message
    assert "last layer first" in refusal.message


def test_biases_and_tensors_beside_the_network_may_stand_anywhere(small: Caller) -> None:
    layers = ["fc2.weight", "fc1.weight", "fc0.weight"]
    others = [name for name in TENSORS if name not in layers]
    between = [layers[0], *others[:3], layers[1], *others[3:], layers[2]]
    sketches = [
        passes(small, RULES["error"], ordered(names), STREAM, **ASKED)
        for names in ([*others, *layers], [*layers, *others], between)
    ]
    assert sketches[0] == sketches[1] == sketches[2]


def normalised() -> tuple[pb.Network, dict[str, np.ndarray]]:
    """Return two layers with a batch normalisation between them, and their tensors, last layer first."""
    random = np.random.default_rng(4)
    topology = pb.Topology(
        nodes=[
            pb.Node(name="x", input=pb.InputNode(shape=[6])),
            pb.Node(name="a", inputs=["x"], linear=pb.LinearNode(weight="a")),
            pb.Node(name="n", inputs=["a"], batch_norm=pb.BatchNormNode(mean="m", variance="v", weight="g", epsilon=1e-5)),
            pb.Node(name="b", inputs=["n"], linear=pb.LinearNode(weight="b")),
        ]
    )
    tensors = {"b": random.normal(size=(3, 5)), "v": random.uniform(0.5, 2, 5), "g": random.normal(size=5)}
    tensors |= {"a": random.normal(size=(5, 6)), "m": random.normal(size=5)}
    return pb.Network(topology=topology), tensors | BESIDE


def test_a_batch_normalisation_stands_before_the_layers_before_it(caller: Caller, small: Caller) -> None:
    network, tensors = normalised()
    moments = [pb.Moments(tensor="a", second_moments=[1.0] * 6), pb.Moments(tensor="b", second_moments=[2.0] * 5)]
    asked, rule = {"network": network, "moments": moments}, budget(max_error=1.0)
    stream = stream_of(tensors)
    sketch = passes(small, rule, stream, stream, **asked)[-1]
    assert small.compress(stream, rule, sketch=sketch, **asked).data == caller.compress(stream, rule, **asked).data
    late = stream_of({name: tensors[name] for name in ("b", "a", "v", "g", "m", *BESIDE)})
    assert "brings tensor 'a' where 'v' is wanted" in analysis_refused(small, late, rule, **asked).message


def test_a_variance_below_zero_is_refused_held_or_not(caller: Caller, small: Caller) -> None:
    """Even where epsilon would make a root of it."""
    network, tensors = normalised()
    tensors["v"][3] = -1e-6
    moments = [pb.Moments(tensor="a", second_moments=[1.0] * 6), pb.Moments(tensor="b", second_moments=[2.0] * 5)]
    asked, rule = {"network": network, "moments": moments}, budget(max_error=1.0)
    for refusal in (
        caller.refused(stream_of(tensors), rule, **asked),
        analysis_refused(small, stream_of(tensors), rule, **asked),
    ):
        assert refusal.reason == "INVALID_TOPOLOGY"
        assert "node 'n': tensor 'v' is -1e-06 at index 3" in refusal.message


def test_a_budget_that_has_nothing_to_cut_is_refused_by_name(small: Caller) -> None:
    refusal = analysis_refused(small, stream_of(LAST_FIRST), selection=pb.Selection(exclude=["fc*"]))
    assert refusal.reason == "INVALID_SKETCH"
    assert "no layer of the network is compressible" in refusal.message


@pytest.mark.parametrize(("most", "taken"), [(20, True), (19, False)])
def test_a_sketch_carries_so_many_sensitivities(small: Caller, monkeypatch: pytest.MonkeyPatch, most: int, taken: bool) -> None:
    monkeypatch.setattr("ellq_server.sketched_budgets.MOST_NEURONS", most)
    if taken:
        first = small.analyze(stream_of(LAST_FIRST), rule=RULES["error"], sketch=pb.SketchOptions(), **ASKED).summary.sketch
        assert sum(len(one.neurons) for one in first.sensitivities) == 9 + 7 + 4
    else:
        assert "is over 20 neurons" in analysis_refused(small, stream_of(LAST_FIRST)).message


def test_layers_that_must_stay_are_walked_through(caller: Caller, small: Caller) -> None:
    asked = {**ASKED, "selection": pb.Selection(exclude=["fc1.weight"])}
    sketch = passes(small, RULES["share"], stream_of(LAST_FIRST), STREAM, **asked)[-1]
    assert [one.tensor for one in sketch.sensitivities] == ["fc2.weight", "fc0.weight"]
    assert small.compress(STREAM, RULES["share"], sketch=sketch, **asked).data == (
        caller.compress(STREAM, RULES["share"], **asked).data
    )


def test_a_tensor_of_several_layers_is_refused_by_name(small: Caller) -> None:
    nodes = [pb.Node(name="x", input=pb.InputNode(shape=[4]))]
    nodes += [pb.Node(name=name, inputs=[taken], linear=pb.LinearNode(weight="w")) for name, taken in ("ax", "ba")]
    asked = {
        "network": pb.Network(topology=pb.Topology(nodes=nodes)),
        "moments": [pb.Moments(tensor="w", second_moments=[1.0] * 4)],
    }
    refusal = analysis_refused(small, stream_of({"w": np.eye(4, dtype=np.float32)}), **asked)
    assert refusal.reason == "INVALID_SKETCH"
    assert "'w' is used by several nodes" in refusal.message


@pytest.mark.parametrize(
    "rule", [budget(max_error=1.0, grade=pb.GRADE_BOX), budget(max_error=1.0, measured=True)], ids=["box", "measured"]
)
def test_what_no_sketch_carries_is_refused_by_name(small: Caller, rule: pb.Rule) -> None:
    asked = analysis_refused(small, stream_of(LAST_FIRST), rule)
    assert (asked.reason, asked.field) == ("INVALID_SKETCH", "options.sketch")
    assert "no sketch carries it" in asked.message
    large = small.refused(STREAM, rule, **ASKED)
    assert large.reason == "SKETCH_REQUIRED"
    assert "call Analyze" not in large.message


def test_no_finite_bound_to_the_output_is_refused_in_the_first_pass(small: Caller) -> None:
    end = pb.Node(name="attention", inputs=["fc2"], unbounded=pb.UnboundedNode(what="softmax attention"))
    network = pb.Network(topology=perceptron.topology(end=end))
    refusal = analysis_refused(small, stream_of(LAST_FIRST), network=network)
    assert refusal.reason == "INVALID_TOPOLOGY"
    assert "attention" in refusal.message


@pytest.fixture(scope="module")
def final(small: Caller) -> pb.Sketch:
    return passes(small, RULES["error"], stream_of(LAST_FIRST), STREAM, **ASKED)[-1]


def with_felt(felt: float) -> Callable[[pb.Sketch], None]:
    return lambda sketch: sketch.sensitivities[0].neurons.__setitem__(0, felt)


FORGERIES: dict[str, Callable[[pb.Sketch], object]] = {
    "not a number": with_felt(np.nan),
    "infinite": with_felt(np.inf),
    "negative": with_felt(-1.0),
    "too large for costs": with_felt(1e305),
    "a neuron too many": lambda sketch: sketch.sensitivities[0].neurons.append(1.0),
    "a tensor is missing": lambda sketch: sketch.sensitivities.pop(),
    "a tensor too many": lambda sketch: sketch.sensitivities.add(tensor="beside.weight", neurons=[1.0] * 30),
    "a tensor twice": lambda sketch: sketch.sensitivities.append(sketch.sensitivities[0]),
    "none": lambda sketch: sketch.ClearField("sensitivities"),
    "all weights felt more": lambda sketch: [
        one.neurons.__setitem__(slice(None), [1e3 * felt for felt in one.neurons]) for one in sketch.sensitivities
    ],
    "fewer weights": lambda sketch: setattr(sketch, "weights", sketch.weights - 1),
    "more weights": lambda sketch: setattr(sketch, "weights", sketch.weights + 1),
    "without units": lambda sketch: sketch.ClearField("counts_units"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_sketches_are_refused(small: Caller, final: pb.Sketch, forgery: str) -> None:
    forged = pb.Sketch()
    forged.CopyFrom(final)
    FORGERIES[forgery](forged)
    assert small.refused(STREAM, RULES["error"], sketch=forged, **ASKED).reason == "INVALID_SKETCH"


def test_costs_beyond_a_double_are_refused_by_name(small: Caller, final: pb.Sketch) -> None:
    forged = pb.Sketch()
    forged.CopyFrom(final)
    FORGERIES["too large for costs"](forged)
    refusal = small.refused(STREAM, RULES["error"], sketch=forged, **ASKED)
    assert f"costs of tensor '{final.sensitivities[0].tensor}' leave the range of a double" in refusal.message


def test_a_sketch_of_other_weights_never_exceeds_the_budget(small: Caller, final: pb.Sketch) -> None:
    """Half as large weights cost half as much, so that more of them lie below the threshold than the budget pays for."""
    halved = {name: (array / 2).astype(array.dtype) for name, array in TENSORS.items()}
    assert "pays for" in small.refused(stream_of(halved), RULES["error"], sketch=final, **ASKED).message


def test_a_sketch_of_other_weights_is_found_out_by_how_many_it_cuts(small: Caller, final: pb.Sketch) -> None:
    larger = {name: array * np.asarray(10, array.dtype) for name, array in TENSORS.items()}
    assert "belongs to other weights" in small.refused(stream_of(larger), RULES["error"], sketch=final, **ASKED).message


def test_other_rules_carry_no_sensitivities(small: Caller, final: pb.Sketch) -> None:
    rule = pb.Rule(scope=pb.SCOPE_GLOBAL, fraction=pb.FractionRule(pruned_ratio=0.5))
    selection = pb.Selection(exclude=["beside*"])
    sketch = passes(small, rule, STREAM, STREAM, selection=selection)[-1]
    sketch.sensitivities.add(tensor="fc0.weight", neurons=[1.0] * 9)
    assert small.refused(STREAM, rule, selection=selection, sketch=sketch).reason == "INVALID_SKETCH"
