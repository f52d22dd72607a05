"""A sketch passes through the caller's hands. Whatever comes back is refused by name, or is one that some weights have."""

import math
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ellq.v1 import compression_pb2 as pb
from ellq_math.pools import DIGITS
from ellq_server.pooled import SketchBuilder, threshold_of_sketch
from ellq_server.refusals import InvalidRequest
from ellq_server.requests import read_analyze, read_compress
from tests.server.test_global_scope import RULES, through_passes
from tests.server.wire import Caller, stream_of

WEIGHTS = np.random.default_rng(3).standard_t(3, (40, 50)).astype(np.float32)
WEIGHTS[0, :5] = 0
WEIGHTS[1] = np.round(WEIGHTS[1])
STREAM = stream_of({"w": WEIGHTS})
REFUSED = "INVALID_SKETCH"
NAMES = ("fraction", "sparsity_index", "lq_bound", "tail_l1", "tail_l2")


@pytest.fixture(scope="module")
def honest(caller: Caller) -> dict[str, list[pb.Sketch]]:
    """The sketches of every pass, the last one final."""
    return {name: through_passes(caller, STREAM, RULES[name]) for name in NAMES}


def outcome(sketch: pb.Sketch, name: str) -> str:
    """Do with the sketch what a call would: plan the next pass, or cut by it. Return that, or the reason of a refusal."""
    rule = RULES[name]
    try:
        if sketch.final:
            request = read_compress(pb.CompressOptions(rule=rule, sketch=sketch))
            assert request.sketch is not None
            assert request.rule is not None
            threshold = threshold_of_sketch(request.sketch, request.rule.rule, ignore_zeros=False)
            assert 0 <= threshold.ties_kept <= threshold.kept <= sketch.weights
            assert threshold.magnitude >= 0
            return "cut"
        request = read_analyze(pb.AnalyzeOptions(rule=rule, sketch=pb.SketchOptions(previous=sketch)))
        assert request.rule is not None
        SketchBuilder(request, request.rule.rule)
    except InvalidRequest as refusal:
        return refusal.reason
    return "planned"


def forged(sketch: pb.Sketch, change: Callable[[pb.Sketch], None]) -> pb.Sketch:
    found = pb.Sketch()
    found.CopyFrom(sketch)
    change(found)
    return found


def setting(**values: object) -> Callable[[pb.Sketch], None]:
    def change(sketch: pb.Sketch) -> None:
        for name, value in values.items():
            setattr(sketch, name, value)

    return change


def in_bins(name: str, place: int, value: int) -> Callable[[pb.Sketch], None]:
    return lambda sketch: getattr(sketch.bins, name).__setitem__(place, value)


def in_sums(**values: float) -> Callable[[pb.Sketch], None]:
    return lambda sketch: [setattr(sketch.power_sums[0], name, value) for name, value in values.items()]


def longer(name: str) -> Callable[[pb.Sketch], None]:
    return lambda sketch: getattr(sketch.bins, name).append(2**20)


def without(name: str) -> Callable[[pb.Sketch], None]:
    return lambda sketch: sketch.ClearField(name)


ANY_PASS = {
    "no weights": setting(weights=0),
    "fewer weights": setting(weights=1000),
    "more weights than any file": setting(weights=2**49),
    "more zeros than weights": setting(zeros=2**40),
    "nothing but zeros": setting(zeros=2000),
    "more zeros than small weights": setting(zeros=1500),
    "more weights below": setting(weights_below=2**63),
    "NaN": setting(max_magnitude=math.nan),
    "infinity": setting(max_magnitude=math.inf),
    "negative": setting(max_magnitude=-1.0),
    "zero": setting(max_magnitude=0.0),
    "negative zero": setting(zeros=2000, max_magnitude=-0.0),
    "another maximum": setting(max_magnitude=1e-3),
    "a maximum of F64": setting(max_magnitude=math.pi),
    "mantissa of no dtype": setting(mantissa_bits=5),
    "another exponent": setting(exponent=-1000),
    "an exponent of no double": setting(exponent=2**31 - 1),
    "a level of no double": setting(level=4),
    "a deep prefix": setting(prefix=2**62),
    "no power sums": without("power_sums"),
    "NaN for a sum": in_sums(sum=math.nan),
    "infinity for a sum": in_sums(sum=math.inf),
    "minus infinity for a sum": in_sums(sum=-math.inf),
    "a negative sum": in_sums(sum=-1.0),
    "no sum": in_sums(sum=0.0),
    "a sum of more weights": in_sums(sum=1e9),
    "a sum of less than one weight": in_sums(sum=1e-9),
    "another order": in_sums(order=0.7),
    "NaN for an order": in_sums(order=math.nan),
    "an order twice": lambda sketch: sketch.power_sums[1].CopyFrom(sketch.power_sums[0]),
    "no bins": without("bins"),
    "an empty bin": in_bins("weights", 0, 0),
    "a full bin": in_bins("weights", 0, 2**64 - 1),
    "a digit twice": lambda sketch: in_bins("digits", 1, sketch.bins.digits[0])(sketch),
    "a digit of no double": in_bins("digits", -1, 2**32 - 1),
    "a digit of infinity": in_bins("digits", -1, 0x7FF << 7),
    "a digit right behind the last": lambda sketch: in_bins("digits", -1, 2 ** DIGITS[sketch.level])(sketch),
    "more digits than weights": longer("digits"),
    "a weight short": lambda sketch: sketch.bins.weights.pop(),
    "more weights than digits": longer("weights"),
    "units out of turn": longer("units"),
}
WITH_UNITS = {
    "units that are not counted": setting(counts_units=False),
    "free weights": in_bins("units", -1, 0),
    "units beyond int64": in_bins("units", -1, 2**64 - 1),
    "cheap weights": in_bins("units", -1, 1),
    "long totals": setting(unit_total=b"\xff" * 520),
    "large totals": setting(unit_total=b"\xff" * 519),
    "large below": setting(units_below=b"\xff" * 519),
    "long below": setting(units_below=b"\xff" * 10_000),
    "a total of more than all": setting(unit_total=b"\x01" + bytes(500)),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ANY_PASS)
def test_no_pass_takes_numbers_that_no_weights_have(honest: dict[str, list[pb.Sketch]], name: str, what: str) -> None:
    if what == "another maximum":
        passes = honest[name][:1]  # later histograms do not show the largest weights
    elif what in ("nothing but zeros", "a digit of infinity", "a digit twice"):
        passes = [sketch for sketch in honest[name] if len(sketch.bins.digits) > 1]
    else:
        passes = honest[name]
    for sketch in passes:
        assert outcome(sketch, name) != REFUSED
        assert outcome(forged(sketch, ANY_PASS[what]), name) == REFUSED


@pytest.mark.parametrize("name", ["tail_l1", "tail_l2"])
@pytest.mark.parametrize("what", WITH_UNITS)
def test_units_must_be_those_of_weights(honest: dict[str, list[pb.Sketch]], name: str, what: str) -> None:
    for sketch in honest[name][1:]:
        assert sketch.counts_units
        assert outcome(forged(sketch, WITH_UNITS[what]), name) == REFUSED


@pytest.mark.parametrize("name", ["fraction", "sparsity_index", "lq_bound"])
def test_a_histogram_of_another_place_is_refused(honest: dict[str, list[pb.Sketch]], name: str) -> None:
    """The cut would end above the prefix, or below it."""
    last = honest[name][-1]
    for below in (last.zeros, last.weights - sum(last.bins.weights)):
        assert below != last.weights_below
        assert outcome(forged(last, setting(weights_below=below)), name) == REFUSED


@pytest.mark.parametrize("name", ["tail_l1", "tail_l2"])
def test_a_budget_of_another_place_is_refused(honest: dict[str, list[pb.Sketch]], name: str) -> None:
    last = honest[name][-1]
    total = int.from_bytes(last.unit_total, "big")
    for other in (0, total // 4, 2 * total):
        assert outcome(forged(last, setting(unit_total=other.to_bytes(519, "big"))), name) == REFUSED


@pytest.mark.parametrize("name", NAMES)
def test_final_is_taken_at_its_word_only_if_true(honest: dict[str, list[pb.Sketch]], name: str) -> None:
    for sketch in honest[name][:-1]:
        assert outcome(forged(sketch, setting(final=True)), name) == REFUSED


SCALARS = ("weights", "zeros", "max_magnitude", "exponent", "mantissa_bits", "level", "prefix", "weights_below")
numbers = st.sampled_from([0, 1, 2, 7, 10, 52, 2**31 - 1, 2**48, 2**61, 2**63, 2**64 - 1]) | st.integers(0, 4000)


def mutate(sketch: pb.Sketch, draw: Callable[..., object]) -> None:
    """Change one number anywhere."""
    kind = draw(st.sampled_from(["scalar", "bins", "bytes", "sums", "flag"]))
    if kind == "scalar":
        name, number = draw(st.sampled_from(SCALARS)), draw(numbers)
        limit = {"max_magnitude": math.inf, "exponent": 2**31 - 1, "mantissa_bits": 2**32 - 1, "level": 2**32 - 1}
        setattr(sketch, name, draw(st.floats()) if name == "max_magnitude" else min(number, limit.get(name, 2**64 - 1)))
    elif kind == "bins":
        name = draw(st.sampled_from(["digits", "weights", "units"]))
        values = getattr(sketch.bins, name)
        if len(values):
            place = draw(st.integers(0, len(values) - 1))
            near = values[place] + draw(st.sampled_from([-1, 1]))
            values[place] = draw(st.sampled_from([max(near, 0), min(draw(numbers), 2**32 - 1)]))
    elif kind == "bytes":
        setattr(sketch, draw(st.sampled_from(["units_below", "unit_total"])), draw(st.binary(max_size=530)))
    elif kind == "sums":
        power_sum = draw(st.sampled_from(list(sketch.power_sums)))
        power_sum.sum = draw(st.floats() | st.just(power_sum.sum * 1.5))
    else:
        name = draw(st.sampled_from(["final", "counts_units"]))
        setattr(sketch, name, not getattr(sketch, name))


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_forged_sketch_is_refused_or_gives_a_threshold(honest: dict[str, list[pb.Sketch]], data: st.DataObject) -> None:
    """Never an error of any other kind, a negative count or a NaN; numpy's warnings count as errors here."""
    name = data.draw(st.sampled_from(NAMES))
    sketch = forged(data.draw(st.sampled_from(honest[name])), lambda _: None)
    for _ in range(data.draw(st.integers(1, 3))):
        mutate(sketch, data.draw)
    with np.errstate(all="raise", under="ignore"):
        assert outcome(sketch, name) in (REFUSED, "planned", "cut")


def test_a_refused_sketch_says_what_is_wrong_and_what_to_do(caller: Caller, honest: dict[str, list[pb.Sketch]]) -> None:
    refusal = caller.refused(STREAM, RULES["fraction"], sketch=forged(honest["fraction"][-1], in_sums(sum=math.nan)))
    assert (refusal.reason, refusal.field) == ("INVALID_SKETCH", "options.sketch")
    assert "a power sum is not finite" in refusal.message
    assert "send back what Analyze returned" in refusal.message


@pytest.mark.parametrize("name", ["fraction", "sparsity_index", "lq_bound"])
def test_a_rule_that_counts_weights_takes_no_units(honest: dict[str, list[pb.Sketch]], name: str) -> None:
    assert [outcome(forged(sketch, setting(units_below=b"\x01")), name) for sketch in honest[name]] == [REFUSED] * len(
        honest[name]
    )


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_are_all_zero_are_no_forgery(caller: Caller, name: str) -> None:
    sketches = through_passes(caller, stream_of({"w": np.zeros((4, 5), np.float32)}), RULES[name])
    assert [outcome(sketch, name) for sketch in sketches] == ["planned"] * (len(sketches) - 1) + ["cut"]


@pytest.mark.parametrize("name", ["fraction", "sparsity_index", "lq_bound"])
def test_what_lies_in_the_bin_of_zero_is_zero(caller: Caller, name: str) -> None:
    """One pass shows every bit of BF16, so that the first bin holds the zeros and nothing else."""
    (sketch,) = through_passes(caller, stream_of({"w": WEIGHTS.astype(ml_dtypes.bfloat16)}), RULES[name])
    assert outcome(sketch, name) == "cut"
    assert outcome(forged(sketch, setting(zeros=sketch.zeros - 1)), name) == REFUSED


def test_a_sketch_of_other_options_is_refused(honest: dict[str, list[pb.Sketch]]) -> None:
    """The same numbers would lead to another threshold."""
    rule = pb.Rule(scope=pb.SCOPE_GLOBAL, fraction=pb.FractionRule(pruned_ratio=0.123))
    with pytest.raises(InvalidRequest, match="belongs to other options"):
        read_compress(pb.CompressOptions(rule=rule, sketch=honest["fraction"][-1]))
