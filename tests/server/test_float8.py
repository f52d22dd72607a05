"""Weights of 8 bits: cut and certified at their real values, told by exact fractions, and sent back as the bytes they were."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import grpc
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ellq.v1 import compression_pb2 as pb
from ellq_math.float8 import scale_values, values, widen
from ellq_server.limits import CALL_BYTES
from tests.server.test_global_scope import RULES, through_sketches
from tests.server.wire import HALF, Answer, Caller, stream_of

E4M3, E5M2, E8M0 = ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float8_e8m0fnu
CODES = np.arange(256, dtype=np.uint8)
TAIL = pb.Rule(scope=pb.SCOPE_NEURON, tail=pb.TailRule(epsilon=0.3, p=2))
PASS = pb.NONFINITE_POLICY_PASS_THROUGH


@dataclass(frozen=True)
class Layout:
    """How a scale is called, its shape over (out, in) weights, and which of its numbers a weight is multiplied by."""

    name: str
    shape: tuple[str | int, ...]
    cell: tuple[str | int, ...]

    def shape_over(self, out: int, fan_in: int) -> tuple[int, ...]:
        told = {"out": out, "blocks out": math.ceil(out / 128), "blocks in": math.ceil(fan_in / 128)}
        return tuple(told.get(side, side) for side in self.shape)

    def cell_of(self, row: int, column: int) -> tuple[int, ...]:
        told = {"row": row, "row block": row // 128, "column block": column // 128}
        return tuple(told.get(place, place) for place in self.cell)


BLOCKS = ("blocks out", "blocks in"), ("row block", "column block")
LAYOUTS = {
    "one number": Layout("weight_scale", (), ()),
    "one number in a list": Layout("weight_scale", (1,), (0,)),
    "one for each row": Layout("weight_scale", ("out",), ("row",)),
    "a column": Layout("weight_scale", ("out", 1), ("row", 0)),
    "blocks, weight_scale_inv": Layout("weight_scale_inv", *BLOCKS),
    "blocks, weight_scale": Layout("weight_scale", *BLOCKS),
    "blocks, scale": Layout("scale", *BLOCKS),
    "one number, scale_weight": Layout("scale_weight", (), ()),
}


def finite_codes(shape: tuple[int, ...], dtype: type, seed: int) -> np.ndarray:
    """Draw from all finite numbers of the dtype alike, zeros of both signs and subnormal ones among them."""
    usable = CODES[np.isfinite(CODES.view(dtype).astype(np.float64))]
    return np.random.default_rng(seed).choice(usable, shape).view(dtype)


def scale_of(shape: tuple[int, ...], dtype: type, seed: int) -> np.ndarray:
    """Draw over the whole range of the dtype, subnormal numbers included, but never zero."""
    rng = np.random.default_rng(seed)
    if dtype is E8M0:
        return rng.integers(0, 255, shape).astype(np.uint8).view(E8M0)
    low, high = {np.float16: (-23, 15), ml_dtypes.bfloat16: (-132, 127), np.float32: (-148, 127)}[dtype]
    drawn = np.ldexp(rng.uniform(1, 1.999, shape), rng.integers(low, high, shape))
    return np.asarray(drawn).astype(dtype)


def real_rows(weights: np.ndarray, scale: np.ndarray | None, layout: Layout | None) -> list[list[Fraction]]:
    """Return the magnitudes, exactly, one after the other."""
    out, fan_in = weights.shape
    numbers, factors = weights.astype(np.float64), None if scale is None else scale.astype(np.float64)
    rows = [[abs(Fraction(float(number))) for number in row] for row in numbers]
    if factors is None or layout is None:
        return rows
    cells = [[Fraction(float(factors[layout.cell_of(row, column)])) for column in range(fan_in)] for row in range(out)]
    return [[w * s for w, s in zip(*pair, strict=True)] for pair in zip(rows, cells, strict=True)]


def sent_back(answer: Answer, name: str) -> np.ndarray:
    """Return the bytes of a tensor as they came back; it is the last of the stream."""
    length = answer.reports[name].payload.length_bytes
    return np.frombuffer(answer.data[len(answer.data) - length :], np.uint8)


def check_certificates(weights: np.ndarray, rows: list[list[Fraction]], answer: Answer) -> None:
    """Every cut weight is 0x00, every other has its byte; certificates cover what was cut and give little away."""
    after, before = sent_back(answer, "a.weight").reshape(weights.shape), weights.view(np.uint8)
    cut = after != before
    assert not after[cut].any()
    gone = [[w for w, out in zip(*pair, strict=True) if out] for pair in zip(rows, cut, strict=True)]
    neurons, certificate = answer.neurons[0], answer.reports["a.weight"].certificate
    for row, l1, l2 in zip(gone, neurons.tail_l1, neurons.tail_l2, strict=True):
        assert_covers(l1, sum(row), power=1)
        assert_covers(l2, sum(w * w for w in row), power=2)
    squares, whole = (sum(w * w for row in some for w in row) for some in (gone, rows))
    assert_covers(certificate.frobenius, squares, power=2)
    assert_covers(certificate.frobenius_ratio, Fraction(squares) / whole if whole else Fraction(0), power=2)


def assert_covers(bound: float, exact: Fraction | int, *, power: int) -> None:
    """Hold a bound against what it bounds: never below it, and above by roundings of a sum alone."""
    assert Fraction(bound) ** power >= exact
    assert Fraction(bound) ** power <= exact * (1 + Fraction(1, 2**40))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layout=st.sampled_from(sorted(LAYOUTS)),
    dtype=st.sampled_from([E4M3, E5M2]),
    scale_dtype=st.sampled_from([np.float32, np.float16, ml_dtypes.bfloat16, E8M0]),
    out=st.sampled_from([1, 2, 127, 129]),
    fan_in=st.sampled_from([1, 2, 5, 128, 131]),
    rule=st.sampled_from([HALF, TAIL]),
    seed=st.integers(0, 2**32 - 1),
)
def test_certificates_speak_of_real_values(
    caller: Caller, layout: str, dtype: type, scale_dtype: type, out: int, fan_in: int, rule: pb.Rule, seed: int
) -> None:
    lies, weights = LAYOUTS[layout], finite_codes((out, fan_in), dtype, seed)
    scale = scale_of(lies.shape_over(out, fan_in), scale_dtype, seed)
    answer = caller.compress(stream_of({f"a.{lies.name}": scale, "a.weight": weights}), rule, neuron_reports=True)
    assert answer.reports[f"a.{lies.name}"].reason == pb.PASS_THROUGH_REASON_SCALE
    assert not answer.summary.warnings or answer.summary.warnings[0].code != pb.WARNING_CODE_STORED_VALUES
    check_certificates(weights, real_rows(weights, scale, lies), answer)


@pytest.mark.parametrize("dtype", [E4M3, E5M2])
@pytest.mark.parametrize("rule", [HALF, TAIL])
def test_without_any_scale_certificates_speak_of_stored_values_and_say_so(caller: Caller, dtype: type, rule: pb.Rule) -> None:
    weights = finite_codes((64, 200), dtype, seed=3)
    answer = caller.compress(stream_of({"a.weight": weights}), rule, neuron_reports=True)
    check_certificates(weights, real_rows(weights, None, None), answer)
    [warning] = answer.summary.warnings
    assert (warning.code, warning.subject) == (pb.WARNING_CODE_STORED_VALUES, "a.weight")
    assert warning.text.startswith("1 tensor of 8 bits has no scale")


def test_tensors_without_any_scale_are_counted_in_one_warning(caller: Caller) -> None:
    answer = caller.compress(stream_of({name: finite_codes((4, 6), E4M3, seed=2) for name in ("a.weight", "b.weight")}))
    assert [one.text.partition(" no scale")[0] for one in answer.summary.warnings] == ["2 tensors of 8 bits have"]


def test_half_of_every_neuron_is_cut_by_real_magnitudes(caller: Caller) -> None:
    """The scale of the second block makes its smallest weights larger than any of the first."""
    weights = np.full((2, 256), 1, E4M3)
    weights[:, 128:] = 0.015625
    scale = np.array([[1.0, 1024.0]], np.float32)
    answer = caller.compress(stream_of({"a.weight_scale_inv": scale, "a.weight": weights}), HALF)
    after = sent_back(answer, "a.weight").reshape(2, 256)
    assert not after[:, :128].any()
    assert (after[:, 128:] == weights.view(np.uint8)[:, 128:]).all()


@pytest.mark.parametrize("rule", RULES)
def test_one_threshold_over_8_bits_and_32(caller: Caller, rule: str) -> None:
    rng = np.random.default_rng(5)
    tensors = {
        "a.weight_scale": rng.uniform(0.2, 2, (40, 1)).astype(np.float32),
        "b.weight": rng.normal(size=(30, 50)).astype(np.float32),
        "a.weight": rng.normal(size=(40, 60)).astype(E4M3),
    }
    whole = caller.compress(stream_of(tensors), RULES[rule])
    assert through_sketches(caller, stream_of(tensors), RULES[rule])[0] == whole.data
    after = sent_back(whole, "a.weight").view(E4M3).reshape(40, 60).astype(np.float64)
    real = np.abs(tensors["a.weight"].astype(np.float64)) * tensors["a.weight_scale"].astype(np.float64)
    kept = whole.reports["b.weight"].allocation.kept
    least = np.sort(np.abs(tensors["b.weight"]).ravel())[-kept] if kept else np.inf
    assert (real[after == 0] <= least).all()  # whatever stays is at least as large as whatever goes
    assert 0 < np.count_nonzero(after) < after.size


@pytest.mark.parametrize("axis", [[1], [0, 2], [2]])
def test_other_neurons_are_cut_like_rows(caller: Caller, axis: list[int]) -> None:
    weights = finite_codes((3, 6, 10), E5M2, seed=1)
    scale = np.array([1.0, 8.0, 0.25], np.float32)[:, None, None]
    override = pb.TensorOverride(glob="e.gate_up_proj", neuron_axis=axis)
    stream = stream_of({"e.gate_up_proj_scale": scale, "e.gate_up_proj": weights})
    answer = caller.compress(stream, HALF, selection=pb.Selection(overrides=[override]))
    moved = [*axis, *(place for place in range(3) if place not in axis)]
    real = (np.abs(weights.astype(np.float64)) * scale).transpose(moved)
    rows = real.reshape(int(np.prod(real.shape[: len(axis)])), -1)
    after = sent_back(answer, "e.gate_up_proj").reshape(3, 6, 10).transpose(moved).reshape(rows.shape)
    for magnitudes, kept in zip(rows, after, strict=True):
        order = sorted(range(len(magnitudes)), key=lambda i: (magnitudes[i], -i))
        assert not kept[order[: len(order) // 2]].any()
    assert (after[after != 0] == weights.view(np.uint8).transpose(moved).reshape(rows.shape)[after != 0]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0])
def test_a_scale_that_is_no_finite_number_above_0_is_refused_or_passed_through(caller: Caller, bad: float) -> None:
    scale = np.ones((2, 1), np.float32)
    scale[1] = bad
    stream = stream_of({"a.weight_scale": scale, "a.weight": np.ones((2, 3), E4M3)})
    refusal = caller.refused(stream)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "NONFINITE_WEIGHT")
    assert "'a.weight_scale'" in refusal.message
    assert "[1, 0]" in refusal.message
    answer = caller.compress(stream, nonfinite=PASS)
    assert answer.data == stream
    assert answer.reports["a.weight"].reason == pb.PASS_THROUGH_REASON_NONFINITE
    [warning] = answer.summary.warnings
    assert warning.text.partition(" and was passed")[0] == refusal.message.partition(" at index")[0]


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({"a.weight": (4, 6), "a.weight_scale": np.ones((), np.float32)}, "comes after it"),
        ({"a.weight_scale": np.ones((3, 1), np.float32), "a.weight": (4, 6)}, "shape [3, 1]"),
        ({"a.weight_scale": np.ones((4, 3), np.float32), "a.weight": (4, 6)}, "shape [4, 3]"),
        ({"a.weight_scale": np.ones(6, np.float32), "a.weight": (4, 6)}, "shape [6]"),
        ({"a.weight_scale": np.ones((4, 1)), "a.weight": (4, 6)}, "is F64"),
        ({"a.weight_scale": np.ones((4, 1), np.uint8), "a.weight": (4, 6)}, "is U8"),
        ({"a.weight_scale": np.ones(()), "a.scale_weight": np.ones(()), "a.weight": (4, 6)}, "several scales"),
        ({"b.weight_scale": np.ones((4, 1), np.float32), "a.weight": (4, 6)}, "its own is not here"),
        (
            {"a.weight_zero_point": np.ones((4, 1), np.int8), "a.weight_scale": np.ones(()), "a.weight": (4, 6)},
            "zero_point beside it",
        ),
        ({"a.weight_scale": np.ones(()), "a.weight_scale_2": np.ones(()), "a.weight": (4, 6)}, "weight_scale_2 beside it"),
        ({"a.weight_scales": np.ones((4, 2), np.float32), "a.weight": (4, 6)}, "weight_scales beside it"),
        ({"a.weights_scaling_factor": np.ones((1,), np.float32), "a.weight": (4, 6)}, "weights_scaling_factor beside it"),
        ({"a.scale": np.ones(()), "a.zero_point": np.ones((4, 2)), "a.weight": (4, 6)}, "zero_point beside it"),
    ],
)
def test_without_a_scale_that_is_known_nothing_is_touched(caller: Caller, tensors: dict, why: str) -> None:
    weights = finite_codes((4, 6), E4M3, seed=2)
    stream = stream_of({name: weights if isinstance(one, tuple) else one for name, one in tensors.items()})
    everything = pb.Selection(include=["*"], overrides=[pb.TensorOverride(glob="*", rule=HALF)])
    answer = caller.compress(stream, selection=everything)
    assert answer.data == stream
    assert answer.reports["a.weight"].reason == pb.PASS_THROUGH_REASON_SCALE_UNUSABLE
    [warning] = [one for one in answer.summary.warnings if one.code == pb.WARNING_CODE_SCALE_UNUSABLE]
    assert warning.subject == "a.weight"
    assert why in warning.text


@pytest.mark.parametrize(("weight", "scale"), [("a.weight._data", "a.weight._scale"), ("a._weight_qdata", "a._weight_scale")])
def test_scales_of_other_libraries_are_no_weights_and_theirs_are_not_touched(caller: Caller, weight: str, scale: str) -> None:
    stream = stream_of({scale: np.ones((4, 2), np.float32), weight: finite_codes((4, 6), E4M3, seed=2)})
    answer = caller.compress(stream)
    assert answer.data == stream
    assert answer.reports[weight].reason == pb.PASS_THROUGH_REASON_SCALE_UNUSABLE
    assert answer.reports[scale].reason == pb.PASS_THROUGH_REASON_SCALE


def test_scales_of_inputs_and_of_other_weights_of_a_layer_do_not_matter(caller: Caller) -> None:
    tensors = {
        "a.input_scale": np.ones((), np.float32), "a.weight_scale": np.ones((), np.float32),
        "e.up_proj_scale": np.ones((), np.float32), "e.down_proj_scale": np.ones((), np.float32),
        "e.up_proj_input_scale": np.ones((), np.float32),
        **{name: finite_codes((4, 6), E4M3, seed=2) for name in ("a.weight", "e.up_proj", "e.down_proj")},
    }  # fmt: skip
    answer = caller.compress(stream_of(tensors))
    treated = {name for name, one in answer.reports.items() if one.treatment == pb.TREATMENT_COMPRESS}
    assert treated == {"a.weight", "e.up_proj", "e.down_proj"}


def test_a_scale_is_no_weight_even_where_its_weights_are_in_another_shard(caller: Caller) -> None:
    scales = {f"{i}.{name}": np.ones((8, 8), np.float32) for i, name in enumerate(["weight_scale", "weight_scale_inv"])}
    stream = stream_of(scales | {"scale": np.arange(64, dtype=np.float32).reshape(8, 8)})
    answer = caller.compress(stream)
    assert [one.reason for one in answer.reports.values()] == [*[pb.PASS_THROUGH_REASON_SCALE] * 2, 0]


def test_a_network_of_8_bits_is_refused_by_name(caller: Caller) -> None:
    nodes = [
        pb.Node(name="x", input=pb.InputNode(shape=[6])),
        pb.Node(name="y", inputs=["x"], linear=pb.LinearNode(weight="w")),
    ]
    network = pb.Network(topology=pb.Topology(nodes=nodes))
    refusal = caller.refused(stream_of({"w": finite_codes((4, 6), E4M3, seed=2)}), network=network)
    assert refusal.reason == "INVALID_TOPOLOGY"
    assert "'w' of dtype F8_E4M3" in refusal.message


def test_moments_weigh_real_values(caller: Caller) -> None:
    """By stored values the first input would go; its scale does not matter, because all of a row have the same."""
    weights, scale = np.array([[1, 2], [4, 8]], E4M3), np.array([[0.5], [4]], np.float32)
    moments = [pb.Moments(tensor="a.weight", second_moments=[16.0, 1.0])]
    answer = caller.compress(stream_of({"a.weight_scale": scale, "a.weight": weights}), HALF, moments=moments)
    assert sent_back(answer, "a.weight").view(E4M3).reshape(2, 2).astype(float).tolist() == [[1, 0], [4, 0]]
    certificate = answer.reports["a.weight"].certificate
    assert_covers(certificate.mean_square_max, Fraction(32) ** 2, power=2)
    assert_covers(certificate.mean_square_l2, Fraction(32) ** 2 + 1, power=2)


def test_lasso_is_refused_for_what_cannot_hold_its_values(caller: Caller) -> None:
    moments = [pb.Moments(tensor="w", second_moments=[1.0, 1.0], matrix=np.eye(2).tobytes())]
    lasso = pb.Rule(scope=pb.SCOPE_NEURON, lasso=pb.LassoRule(epsilon=0.5))
    refusal = caller.refused(stream_of({"w": np.ones((2, 2), E5M2)}), lasso, moments=moments)
    assert (refusal.reason, refusal.field) == ("INVALID_RULE", "options.rule")
    assert "'w' of dtype F8_E5M2" in refusal.message


@pytest.mark.parametrize(("name", "dtype"), [("F8_E4M3", E4M3), ("F8_E5M2", E5M2)])
def test_every_code_is_worth_what_the_reference_says(name: str, dtype: type) -> None:
    reference = CODES.view(dtype).astype(np.float64)
    for found in (values(name), widen(CODES, name).view(np.float16).astype(np.float64)):
        np.testing.assert_array_equal(found, reference)
        numbers = ~np.isnan(reference)
        np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(reference)[numbers])


def test_every_power_of_two_that_is_a_scale_is_what_the_reference_says() -> None:
    np.testing.assert_array_equal(scale_values(CODES.tobytes(), "F8_E8M0"), CODES.view(E8M0).astype(np.float64))


@pytest.mark.parametrize(("dtype", "code"), [(E4M3, 0x7F), (E4M3, 0xFF), (E5M2, 0x7C), (E5M2, 0xFD)])
@pytest.mark.parametrize("scaled", [False, True])
def test_what_is_no_number_is_refused_by_its_place(caller: Caller, dtype: type, code: int, scaled: bool) -> None:
    weights = np.ones((3, 4), dtype)
    weights.view(np.uint8)[2, 1] = code
    tensors = {"a.weight_scale": np.ones((3, 1), np.float32)} if scaled else {}
    refusal = caller.refused(stream_of(tensors | {"a.weight": weights}))
    assert refusal.reason == "NONFINITE_WEIGHT"
    assert "at index [2, 1]" in refusal.message


@pytest.mark.parametrize("rule", RULES)
def test_every_maker_gives_the_same_answer(caller: Caller, reference: Caller, rule: str) -> None:
    tensors = {
        "a.weight_scale_inv": scale_of((2, 1), np.float32, seed=4),
        "a.weight": finite_codes((140, 70), E5M2, seed=4),
    }
    one, other = (maker.compress(stream_of(tensors), RULES[rule], neuron_reports=True) for maker in (caller, reference))
    assert one.data == other.data
    assert one.reports == other.reports
    assert one.neurons == other.neurons


@pytest.fixture(scope="module")
def reference(serve: Callable[..., Caller]) -> Caller:
    return serve(kernels="reference")


def test_weights_that_do_not_fit_when_they_are_widened_are_refused_by_name(serve: Callable[..., Caller]) -> None:
    small = serve(memory_bytes=CALL_BYTES + 6_000_000)
    weights = np.ones((500, 1000), E4M3)
    assert small.compress(stream_of({"a.weight": weights})).data  # two bytes each
    refusal = small.refused(stream_of({"a.weight_scale": np.float32([[1.0]]), "a.weight": weights}))
    assert refusal.reason == "TENSOR_TOO_LARGE"
    assert "'a.weight'" in refusal.message
