"""One threshold over all weights: in one pass, and through sketches when the payload does not fit in memory."""

from collections.abc import Callable, Sequence

import grpc
import ml_dtypes
import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_server.limits import CALL_BYTES
from tests.server.wire import Caller, read_refusal, stream_of

GLOBAL = pb.SCOPE_GLOBAL
RULES = {
    "sparsity_index": pb.Rule(scope=GLOBAL, sparsity_index=pb.SparsityIndexRule(q=0.3, eta=0.2)),
    "pq_index": pb.Rule(scope=GLOBAL, pq_index=pb.PqIndexRule(p=0.5, q=1, gamma=1, beta=0.9)),
    "fraction": pb.Rule(scope=GLOBAL, fraction=pb.FractionRule(pruned_ratio=0.6)),
    "tail_l1": pb.Rule(scope=GLOBAL, tail=pb.TailRule(epsilon=0.2, p=1)),
    "tail_l2": pb.Rule(scope=GLOBAL, tail=pb.TailRule(epsilon=0.2, p=2)),
    "lq_bound": pb.Rule(scope=GLOBAL, lq_bound=pb.LqBoundRule(epsilon=0.8, q=0.5, p=2)),
}


@pytest.fixture(scope="module")
def small(serve: Callable[..., Caller]) -> Caller:
    """A server with so little memory that no payload is held whole."""
    return serve(memory_bytes=CALL_BYTES + 6_000_000)


def tensors_of(*dtypes: type) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    drawn = {f"w{i}": rng.standard_t(3, (200, 300)) * 10.0**-i for i in range(len(dtypes))}
    tensors = {name: values.astype(dtype) for (name, values), dtype in zip(drawn.items(), dtypes, strict=True)}
    for values in tensors.values():
        values[:20] = np.round(values[:20].astype(np.float64), 1).astype(values.dtype)  # ties, within tensors and across
    return tensors | {"bias": np.ones(200_000)}


def through_passes(caller: Caller, stream: bytes, rule: pb.Rule) -> list[pb.Sketch]:
    """Return the sketches of all passes; the last one is final."""
    sketches: list[pb.Sketch] = []
    while not sketches or not sketches[-1].final:
        options = pb.SketchOptions(previous=sketches[-1]) if sketches else pb.SketchOptions()
        sketches.append(caller.analyze(stream, rule=rule, sketch=options).summary.sketch)
        assert len(sketches) <= 6
    return sketches


def through_sketches(caller: Caller, stream: bytes, rule: pb.Rule) -> tuple[bytes, int]:
    sketches = through_passes(caller, stream, rule)
    return caller.compress(stream, rule, sketch=sketches[-1]).data, len(sketches)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "dtypes", [(np.float32, np.float32), (ml_dtypes.bfloat16, ml_dtypes.bfloat16), (np.float64, np.float16, np.float32)]
)
def test_sketches_and_one_pass_give_the_same_bytes(caller: Caller, small: Caller, rule: str, dtypes: tuple[type, ...]) -> None:
    stream = stream_of(tensors_of(*dtypes))
    data, passes = through_sketches(small, stream, RULES[rule])
    assert data == caller.compress(stream, RULES[rule]).data
    digits = {np.float64: 4, np.float32: 2, np.float16: 2, ml_dtypes.bfloat16: 1}
    assert passes == max(digits[dtype] for dtype in dtypes) + rule.startswith("tail")


def test_the_smallest_of_all_weights_are_cut_and_ties_keep_the_earlier_tensor(caller: Caller) -> None:
    tensors = {"a": np.array([[3, 1], [1, 2]], np.float32), "b": np.array([[1, 1], [5, 1]], np.float32)}
    rule = pb.Rule(scope=GLOBAL, fraction=pb.FractionRule(pruned_ratio=0.375))
    answer = caller.compress(stream_of(tensors), rule)
    kept = {"a": np.array([[3, 1], [1, 2]], np.float32), "b": np.array([[0, 0], [5, 0]], np.float32)}
    assert answer.data == stream_of(kept)


def test_the_global_tail_fits_and_one_more_weight_would_not(caller: Caller) -> None:
    tensors = tensors_of(np.float32, np.float32)
    answer = caller.compress(stream_of(tensors), RULES["tail_l1"])
    everything = np.sort(np.abs(np.concatenate([tensors["w0"].ravel(), tensors["w1"].ravel()]).astype(np.float64)))
    running = np.cumsum(everything)
    cut = everything.size - answer.summary.kept
    assert running[cut - 1] <= 0.2 * running[-1] < running[cut]


def test_a_payload_beyond_memory_needs_a_sketch(small: Caller) -> None:
    refusal = small.refused(stream_of(tensors_of(np.float32)), RULES["fraction"])
    assert (refusal.reason, refusal.field) == ("SKETCH_REQUIRED", "options.sketch")


def test_a_sketch_of_other_options_is_refused(small: Caller) -> None:
    stream = stream_of(tensors_of(np.float32))
    sketch = small.analyze(stream, rule=RULES["fraction"], sketch=pb.SketchOptions()).summary.sketch
    for options in ({"ignore_zeros": True}, {"selection": pb.Selection(exclude=["b*"])}):
        assert small.refused(stream, RULES["fraction"], sketch=sketch, **options).reason == "INVALID_SKETCH"
    assert small.refused(stream, RULES["sparsity_index"], sketch=sketch).reason == "INVALID_SKETCH"


def test_a_sketch_that_is_not_final_is_refused(small: Caller) -> None:
    stream = stream_of(tensors_of(np.float32))
    sketch = small.analyze(stream, rule=RULES["fraction"], sketch=pb.SketchOptions()).summary.sketch
    assert "not final" in small.refused(stream, RULES["fraction"], sketch=sketch).message


def test_a_sketch_of_fewer_weights_than_the_stream_brings_is_refused(small: Caller) -> None:
    few = stream_of({"w": np.ones((4, 4), np.float16)})
    first = small.analyze(few, rule=RULES["fraction"], sketch=pb.SketchOptions()).summary.sketch
    final = small.analyze(few, rule=RULES["fraction"], sketch=pb.SketchOptions(previous=first)).summary.sketch
    assert final.final
    with pytest.raises(grpc.RpcError) as caught:
        small.analyze(few, rule=RULES["fraction"], sketch=pb.SketchOptions(previous=final))
    assert "hand it to Compress" in read_refusal(caught.value).message
    assert "other weights" in small.refused(stream_of(tensors_of(np.float32)), RULES["fraction"], sketch=final).message


def test_later_passes_hold_the_stream_to_the_sketch_too(small: Caller) -> None:
    """Units leave room for as many weights as the sketch counts; more could overflow their sums."""
    options = {"rule": RULES["tail_l2"], "nonfinite": pb.NONFINITE_POLICY_PASS_THROUGH}
    few = stream_of({"w": np.ones((4, 4), np.float32)})
    first = small.analyze(few, sketch=pb.SketchOptions(), **options).summary.sketch
    with pytest.raises(grpc.RpcError) as raised:
        small.analyze(stream_of(tensors_of(np.float32)), sketch=pb.SketchOptions(previous=first), **options)
    assert read_refusal(raised.value).reason == "INVALID_SKETCH"


def merged(sketches: Sequence[pb.Sketch]) -> pb.Sketch:
    """Merge the sketches of shards without scaled weights by the words of the contract."""
    found = pb.Sketch()
    found.CopyFrom(sketches[0])
    found.final = all(one.final for one in sketches)
    bins = {}
    for one in sketches:
        units = one.bins.units or [0] * len(one.bins.digits)
        for digit, weights, cost in zip(one.bins.digits, one.bins.weights, units, strict=True):
            before = bins.get(digit, (0, 0))
            bins[digit] = (before[0] + weights, before[1] + cost)
    found.bins.Clear()
    for digit, (weights, cost) in sorted(bins.items()):
        found.bins.digits.append(digit)
        found.bins.weights.append(weights)
        if found.counts_units:
            found.bins.units.append(cost)
    if found.counts_units and found.level == 0:
        total = sum(int.from_bytes(one.unit_total, "big") for one in sketches)
        found.unit_total = total.to_bytes(-(-total.bit_length() // 8), "big")
    if not found.counts_units and found.level == 0:
        found.weights = sum(one.weights for one in sketches)
        found.zeros = sum(one.zeros for one in sketches)
        found.max_magnitude = max(one.max_magnitude for one in sketches)
        for place, power_sum in enumerate(found.power_sums):
            power_sum.sum = sum(one.power_sums[place].sum for one in sketches)
    return found


@pytest.mark.parametrize("rule", ["fraction", "tail_l1", "tail_l2"])
def test_shards_that_are_merged_are_one_network(caller: Caller, small: Caller, rule: str) -> None:
    tensors = tensors_of(np.float32, np.float32)
    whole = caller.compress(stream_of(tensors), RULES[rule]).data
    shards = [stream_of({name: values}) for name, values in tensors.items() if name != "bias"]
    sketch = None
    while sketch is None or not sketch.final:
        asked = pb.SketchOptions(previous=sketch) if sketch else pb.SketchOptions()
        sketch = merged([small.analyze(shard, rule=RULES[rule], sketch=asked).summary.sketch for shard in shards])
    assert small.compress(stream_of(tensors), RULES[rule], sketch=sketch).data == whole


def test_a_network_of_zeros_has_a_global_threshold_too(caller: Caller, small: Caller) -> None:
    stream = stream_of({"w": np.zeros((4, 4), np.float32)})
    for rule in RULES.values():
        assert caller.compress(stream, rule).data == stream
        assert through_sketches(small, stream, rule)[0] == stream
