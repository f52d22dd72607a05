"""What Compress sends back, against a naive twin."""

import hashlib
import math

import ml_dtypes
import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import FRAME_BYTES
from tests.server.wire import HALF, Caller, stream_of

DTYPES = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16]


def random(shape: tuple[int, ...], dtype: type = np.float32, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_t(3, shape) * 0.1).astype(dtype)


def half_of(rows: np.ndarray) -> np.ndarray:
    """Prune floor(d / 2) of every row, smallest first, higher index first among equals."""
    found = rows.copy()
    for row in found:
        order = sorted(range(len(row)), key=lambda i: (abs(float(row[i])), -i))
        row[order[: len(row) // 2]] = 0
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_half_of_every_neuron_is_cut(caller: Caller, dtype: type) -> None:
    weights = np.round(random((7, 33), dtype).astype(np.float64), 1).astype(dtype)  # rounded, so that ties happen
    answer = caller.compress(stream_of({"w": weights}), HALF)
    assert answer.data == stream_of({"w": half_of(weights)})


def test_frames_come_in_the_order_of_the_contract(caller: Caller) -> None:
    big = random((1024, 1024))
    data = ["data"] * (big.nbytes // FRAME_BYTES)
    answer = caller.compress(stream_of({"a": big, "b": big}), neuron_reports=True)
    assert answer.kinds[:3] == ["manifest", "plans", "data"]
    assert answer.kinds[3:] == ["reports", "neurons", *data, "reports", "neurons", *data, "summary"]


def test_small_tensors_share_frames(caller: Caller) -> None:
    answer = caller.compress(stream_of({str(i): random((2, 2)) for i in range(100)}))
    assert answer.kinds == ["manifest", "plans", "data", "reports", "data", "summary"]


def test_chunks_may_have_any_length(caller: Caller) -> None:
    stream = stream_of({"w": random((9, 5)), "b": random((5,))})
    whole = caller.compress(stream)
    for chunk in (1, 7, 64):
        assert caller.compress(stream, chunk=chunk).data == whole.data


def test_the_header_goes_out_as_it_came(caller: Caller) -> None:
    stream = stream_of({"w": random((4, 4))}, metadata={"format": "pt", "odd": "\u00fc"})
    padded = (len(stream) - 64 - 8 + 5).to_bytes(8, "little") + stream[8:-64] + b"     " + stream[-64:]
    answer = caller.compress(padded)
    assert answer.data[:-64] == padded[:-64]
    assert answer.manifest.header_bytes == len(padded) - 64


def test_tensors_may_be_listed_in_any_order(caller: Caller) -> None:
    ordered = stream_of({"a": random((2, 8), seed=1), "b": random((2, 8), seed=2)})
    first, second = ordered.index(b'"a"'), ordered.index(b'"b"')
    swapped = ordered.replace(ordered[first : first + 3], b"@@@").replace(b'"b"', b'"a"').replace(b"@@@", b'"b"')
    assert second > first
    assert list(caller.compress(swapped).reports) == ["b", "a"]


def test_payload_digests_are_those_of_the_bytes(caller: Caller) -> None:
    answer = caller.compress(stream_of({"w": random((8, 8)), "bias": random((8,))}))
    start = answer.manifest.header_bytes
    for report in answer.reports.values():
        payload = answer.data[start : start + report.payload.length_bytes]
        assert hashlib.sha256(payload).digest() == report.payload.sha256
        start += report.payload.length_bytes
    assert start == len(answer.data)


def test_odd_shapes_pass_through_with_a_reason(caller: Caller) -> None:
    tensors = {
        "scalar": np.float32(3).reshape(()),
        "bias": random((4,)),
        "empty": np.zeros((0, 4), np.float32),
        "ids": np.arange(6).reshape(2, 3),
        "flags": np.ones((2, 2), bool),
        "tok_embeddings.weight": random((4, 4)),
        "lm_head.weight": random((4, 4)),
        "skipped": random((4, 4)),
        "left.out": random((4, 4)),
        "w": random((4, 4)),
    }
    selection = pb.Selection(exclude=["left.*"], overrides=[pb.TensorOverride(glob="skip*", skip=True)])
    answer = caller.compress(stream_of(tensors), selection=selection)
    prefix = "PASS_THROUGH_REASON_"
    reasons = {name: pb.PassThroughReason.Name(plan.reason).removeprefix(prefix) for name, plan in answer.plans.items()}
    assert reasons == {
        "scalar": "DIMENSIONS",
        "bias": "DIMENSIONS",
        "empty": "EMPTY",
        "ids": "DTYPE",
        "flags": "DTYPE",
        "tok_embeddings.weight": "NAME",
        "lm_head.weight": "NAME",
        "skipped": "SKIPPED",
        "left.out": "EXCLUDED",
        "w": "UNSPECIFIED",
    }
    assert answer.data == stream_of(tensors | {"w": half_of(tensors["w"])})


def test_include_takes_in_what_a_name_leaves_out_but_never_a_vector(caller: Caller) -> None:
    tensors = {"embed.weight": random((4, 4)), "embed.bias": random((4,))}
    answer = caller.compress(stream_of(tensors), selection=pb.Selection(include=["*"]))
    assert answer.plans["embed.weight"].treatment == pb.TREATMENT_COMPRESS
    assert answer.plans["embed.bias"].reason == pb.PASS_THROUGH_REASON_DIMENSIONS


def test_no_tensors_at_all_is_an_answer_and_a_warning(caller: Caller) -> None:
    answer = caller.compress(stream_of({}))
    assert answer.data == stream_of({})
    assert [warning.code for warning in answer.summary.warnings] == [pb.WARNING_CODE_NOTHING_COMPRESSIBLE]


@pytest.mark.parametrize(("name", "shape", "helps"), [("embed.weight", (4, 4), True), ("norm.weight", (4,), False)])
def test_include_is_offered_only_where_it_helps(caller: Caller, name: str, shape: tuple[int, ...], helps: bool) -> None:
    answer = caller.compress(stream_of({name: random(shape)}))
    assert ["include" in warning.text for warning in answer.summary.warnings] == [helps]


@pytest.mark.parametrize("scope", [pb.SCOPE_NEURON, pb.SCOPE_LAYER, pb.SCOPE_GLOBAL])
def test_zero_and_single_weights_are_no_trouble(caller: Caller, scope: pb.Scope) -> None:
    tensors = {"zeros": np.zeros((3, 5), np.float32), "one": np.full((1, 1), -2, np.float32), "column": random((6, 1))}
    for rule in every_rule(scope):
        answer = caller.compress(stream_of(tensors), rule)
        assert answer.reports["zeros"].certificate.frobenius == 0
        assert answer.reports["zeros"].measurement.layer.sparsity_index == 1


def every_rule(scope: pb.Scope) -> list[pb.Rule]:
    rules = [
        pb.Rule(scope=scope, sparsity_index=pb.SparsityIndexRule(q=0.5)),
        pb.Rule(scope=scope, pq_index=pb.PqIndexRule(p=0.5, q=1, gamma=1, beta=0.9)),
        pb.Rule(scope=scope, tail=pb.TailRule(epsilon=0.1, p=1)),
        pb.Rule(scope=scope, tail=pb.TailRule(epsilon=0.1, p=2)),
        pb.Rule(scope=scope, lq_bound=pb.LqBoundRule(epsilon=0.5, q=0.5, p=2)),
        pb.Rule(scope=scope, fraction=pb.FractionRule(pruned_ratio=0.5)),
    ]
    return rules + [pb.Rule(scope=scope, n_of_m=pb.NOfMRule(n=2, m=4))] * (scope == pb.SCOPE_NEURON)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scope", [pb.SCOPE_NEURON, pb.SCOPE_LAYER, pb.SCOPE_GLOBAL])
def test_no_certificate_lies_below_what_was_cut(caller: Caller, scope: pb.Scope, dtype: type) -> None:
    tensors = {"a": random((12, 40), dtype, 1), "b": random((5, 3, 7), dtype, 2)}
    for rule in every_rule(scope):
        answer = caller.compress(stream_of(tensors), rule)
        assert answer.data != stream_of(tensors)
        start = answer.manifest.header_bytes
        for name, before in tensors.items():
            after = np.frombuffer(answer.data, dtype, before.size, start).reshape(before.shape)
            start += before.nbytes
            gone = np.where(after == 0, np.abs(before.astype(np.float64)), 0).reshape(len(before), -1)
            certificate = answer.reports[name].certificate
            assert np.array_equal(after[after != 0], before[after != 0])
            assert certificate.tail_l1_max >= max(math.fsum(row) for row in gone)
            assert certificate.tail_l2_max >= max(math.sqrt(math.fsum(row * row)) for row in gone) * (1 - 2**-52)
            assert certificate.frobenius >= math.sqrt(math.fsum(gone.ravel() ** 2)) * (1 - 2**-52)
            assert answer.reports[name].allocation.zeros == np.sum(after == 0)


def test_a_transposed_layout_gives_the_transposed_result(caller: Caller) -> None:
    weights = random((6, 10))
    selection = pb.Selection(overrides=[pb.TensorOverride(glob="w", neuron_axis=[1])])
    transposed = caller.compress(stream_of({"w": np.ascontiguousarray(weights.T)}), selection=selection)
    assert transposed.data == stream_of({"w": np.ascontiguousarray(half_of(weights).T)})
    assert (transposed.plans["w"].neurons, transposed.plans["w"].fan_in) == (6, 10)


def test_stacked_experts_have_a_neuron_for_every_output_of_every_expert(caller: Caller) -> None:
    weights = random((3, 4, 8))
    selection = pb.Selection(overrides=[pb.TensorOverride(glob="w", neuron_axis=[0, 1])])
    answer = caller.compress(stream_of({"w": weights}), selection=selection)
    assert (answer.plans["w"].neurons, answer.plans["w"].fan_in) == (12, 8)
    assert answer.data == stream_of({"w": half_of(weights.reshape(12, 8)).reshape(3, 4, 8)})


def test_overrides_win_over_the_rule_and_later_ones_over_earlier_ones(caller: Caller) -> None:
    most = pb.Rule(scope=pb.SCOPE_LAYER, fraction=pb.FractionRule(pruned_ratio=0.75))
    overrides = [pb.TensorOverride(glob="*", skip=True), pb.TensorOverride(glob="b", rule=most)]
    answer = caller.compress(stream_of({"a": random((4, 4)), "b": random((4, 4))}), selection=pb.Selection(overrides=overrides))
    assert answer.plans["a"].reason == pb.PASS_THROUGH_REASON_SKIPPED
    assert answer.plans["b"].rule == most
    assert answer.reports["b"].allocation.kept == 4


def test_neuron_reports_hold_to_the_totals(caller: Caller) -> None:
    answer = caller.compress(stream_of({"w": random((40_000, 3))}), neuron_reports=True)
    assert [neurons.first_neuron for neurons in answer.neurons] == [0, 16384, 32768]
    kept = [count for neurons in answer.neurons for count in neurons.kept]
    assert len(kept) == 40_000
    assert sum(kept) == answer.reports["w"].allocation.kept == answer.summary.kept
    assert max(tail for neurons in answer.neurons for tail in neurons.tail_l1) == answer.reports["w"].certificate.tail_l1_max


def test_ignore_zeros_counts_what_is_left(caller: Caller) -> None:
    weights = np.array([[8, 7, 6, 5, 0, 0, 0, 0]], np.float32)
    assert caller.compress(stream_of({"w": weights}), ignore_zeros=True).reports["w"].allocation.kept == 2
    assert caller.compress(stream_of({"w": weights})).reports["w"].allocation.kept == 4


def test_analyze_with_a_rule_tells_what_compress_would_do(caller: Caller) -> None:
    stream = stream_of({"w": random((20, 30)), "bias": random((3,))})
    for rule in every_rule(pb.SCOPE_LAYER):
        told, done = caller.analyze(stream, rule=rule), caller.compress(stream, rule)
        for name, report in done.reports.items():
            report.ClearField("payload")
            assert told.reports[name] == report
        assert told.data == b""


def test_analyze_without_a_rule_measures_only(caller: Caller) -> None:
    report = caller.analyze(stream_of({"w": random((20, 30))}), distribution=True).reports["w"]
    assert not report.HasField("allocation")
    assert not report.HasField("certificate")
    assert report.distribution.spectral_norm_bound >= np.linalg.norm(random((20, 30)).astype(np.float64), 2)
    assert report.measurement.weights == 600


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("scope", [pb.SCOPE_NEURON, pb.SCOPE_LAYER])
@pytest.mark.parametrize("rule", ["tail", "lq_bound"])
def test_what_is_guaranteed_holds(caller: Caller, rule: str, scope: pb.Scope, p: int) -> None:
    """The l_p norm of what is cut is at most epsilon times the norm of all, row by row or over the tensor."""
    epsilon, weights = 0.3, random((30, 50)).astype(np.float64)
    kinds = {"tail": pb.TailRule(epsilon=epsilon, p=p), "lq_bound": pb.LqBoundRule(epsilon=epsilon, q=0.5, p=p)}
    answer = caller.compress(stream_of({"w": weights}), pb.Rule(scope=scope, **{rule: kinds[rule]}))
    after = np.frombuffer(answer.data, np.float64, weights.size, answer.manifest.header_bytes).reshape(weights.shape)
    rows = weights if scope == pb.SCOPE_NEURON else weights.reshape(1, -1)
    gone = np.where(after == 0, weights, 0).reshape(rows.shape)
    for row, cut in zip(np.abs(rows) ** p, np.abs(gone) ** p, strict=True):
        assert math.fsum(cut) <= epsilon**p * math.fsum(row)
    if rule == "tail":
        assert (after == 0).sum() > 0


def test_totals_count_what_no_rule_touched(caller: Caller) -> None:
    tensors = {"a": random((8, 8), seed=1), "b": random((8, 8), seed=2)}
    overrides = [pb.TensorOverride(glob="a", rule=HALF)]
    summary = caller.analyze(stream_of(tensors), selection=pb.Selection(overrides=overrides)).summary
    everything = np.concatenate([tensors["a"].ravel(), tensors["b"].ravel()]).astype(np.float64)
    gone = (tensors["a"] - half_of(tensors["a"])).astype(np.float64)
    ratio = math.sqrt(math.fsum(gone.ravel() ** 2) / math.fsum(everything**2))
    assert (summary.weights, summary.kept, summary.zeros_before, summary.zeros_after) == (128, 96, 0, 32)
    assert ratio <= summary.frobenius_ratio <= ratio * (1 + 1e-12)
    index = 128 * math.fsum(np.abs(everything)) / math.fsum(np.sqrt(np.abs(everything))) ** 2
    assert getattr(summary, "global").sparsity_index == pytest.approx(index, rel=1e-12)
