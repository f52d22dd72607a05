"""The tail rule keeps the fewest weights that fit, in every scope, however far the magnitudes lie apart."""

import math
from fractions import Fraction

import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from tests.server.test_global_scope import through_sketches
from tests.server.wire import Caller, stream_of

LAYER, GLOBAL = pb.SCOPE_LAYER, pb.SCOPE_GLOBAL
SIDE = 2048


def one_giant() -> np.ndarray:
    """On one scale for all, every one of these would cost a unit: four times the budget together."""
    weights = np.full((SIDE, SIDE), 1e-7, np.float32)
    weights[17, 4] = 1
    return weights


def bell_with_outliers() -> np.ndarray:
    weights = np.random.default_rng(11).normal(size=(SIDE, SIDE)).astype(np.float32)
    weights[3, :3] = [1e4, -2e4, 3e4]
    return weights


def powers_of(weights: np.ndarray, p: int) -> np.ndarray:
    """Squares of F32 are exact in float64."""
    return np.sort(np.abs(weights.astype(np.float64)).ravel() ** p)


def most_cut(weights: np.ndarray, epsilon: float, p: int) -> int:
    """Add up plainly, smallest first; fsum rounds once, and nothing here is as close to the budget as that."""
    powers = powers_of(weights, p)
    budget = Fraction(epsilon) ** p * Fraction(math.fsum(powers))
    cut = int(np.searchsorted(powers.cumsum(), float(budget)))
    while cut < powers.size and Fraction(math.fsum(powers[: cut + 1])) <= budget:
        cut += 1
    while Fraction(math.fsum(powers[:cut])) > budget:
        cut -= 1
    return cut


CASES = [
    (one_giant, 1e-3, 2),
    (one_giant, 0.5, 1),
    (bell_with_outliers, 1e-2, 2),
    (bell_with_outliers, 1e-3, 2),
    (bell_with_outliers, 1e-2, 1),
]


@pytest.mark.parametrize(("make", "epsilon", "p"), CASES)
def test_no_fewer_weights_would_do(caller: Caller, make: object, epsilon: float, p: int) -> None:
    weights = make()
    fewest = weights.size - most_cut(weights, epsilon, p)
    stream = stream_of({"w": weights})
    layer = caller.compress(stream, pb.Rule(scope=LAYER, tail=pb.TailRule(epsilon=epsilon, p=p)))
    assert layer.reports["w"].allocation.kept_within == layer.reports["w"].allocation.kept == fewest

    rule = pb.Rule(scope=GLOBAL, tail=pb.TailRule(epsilon=epsilon, p=p))
    pool = caller.compress(stream, rule)
    assert pool.summary.kept == fewest
    assert pool.data == layer.data
    assert through_sketches(caller, stream, rule)[0] == layer.data

    kept = np.frombuffer(layer.data[-weights.nbytes :], np.float32).reshape(weights.shape)
    cut = math.fsum(powers_of(weights - kept, p))
    assert Fraction(cut) <= Fraction(epsilon) ** p * Fraction(math.fsum(powers_of(weights, p)))


def test_the_giant_stays_alone(caller: Caller) -> None:
    rule = pb.Rule(scope=LAYER, tail=pb.TailRule(epsilon=1e-3, p=2))
    answer = caller.compress(stream_of({"w": one_giant()}), rule)
    assert answer.reports["w"].allocation.kept_within == 1


@pytest.mark.parametrize("scope", [LAYER, GLOBAL])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("p", "kept"), [(1, 2), (2, 3)])
def test_a_budget_that_is_met_exactly_is_spent(caller: Caller, scope: pb.Scope, dtype: type, p: int, kept: int) -> None:
    rule = pb.Rule(scope=scope, tail=pb.TailRule(epsilon=0.5, p=p))
    stream = stream_of({"w": np.ones((2, 2), dtype)})
    answer = caller.compress(stream, rule)
    assert answer.summary.kept == kept
    if scope == GLOBAL:
        assert through_sketches(caller, stream, rule)[0] == answer.data


def test_tensors_of_all_magnitudes_are_weighed_together(caller: Caller) -> None:
    """The budget is two of the 128 large weights and a 64th of all tiny ones: two large and all tiny ones are too much."""
    tiny = np.full((40, 50), 2.0**-300)
    large = np.full((4, 32), 2.0**120, np.float32)
    rule = pb.Rule(scope=GLOBAL, tail=pb.TailRule(epsilon=0.125, p=2))
    stream = stream_of({"a": tiny, "b": large})
    answer = caller.compress(stream, rule)
    assert answer.reports["a"].allocation.kept == 0
    assert answer.reports["b"].allocation.kept == 127
    assert through_sketches(caller, stream, rule)[0] == answer.data
