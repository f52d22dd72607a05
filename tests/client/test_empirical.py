"""The empirical certificate: limits that hold as often as they say, and a sentence that says when they do not."""

import math
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ellq_client import ExtraMissing, empirical_certificate
from ellq_client.empirical import changed_predictions, mean_limit, share_limit


def binomial(count, ratio):
    """Return the probabilities of 0, ..., count, exactly."""
    return [math.comb(count, k) * ratio**k * (1 - ratio) ** (count - k) for k in range(count + 1)]


@pytest.mark.parametrize("error", [0.3, 0.05, 1e-4])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 20, 40])
def test_the_limit_of_a_share_covers_as_often_as_it_says(count, error):
    limits = [Fraction(share_limit(changed, count, error=error)) for changed in range(count + 1)]
    assert limits == sorted(limits)
    assert limits[-1] == 1
    hardest = [limit - Fraction(1, 10**15) for limit in limits]  # just outside of a limit coverage is least
    for ratio in [*(Fraction(step, 53) for step in range(54)), *hardest]:
        covered = sum(chance for limit, chance in zip(limits, binomial(count, ratio), strict=True) if limit >= ratio)
        assert covered >= 1 - Fraction(error)


@pytest.mark.parametrize(("changed", "count"), [(0, 1), (0, 50), (3, 50), (49, 50), (17, 300)])
def test_the_limit_of_a_share_is_no_larger_than_it_must_be(changed, count):
    limit = Fraction(share_limit(changed, count, error=0.05))
    assert sum(binomial(count, limit)[: changed + 1]) <= Fraction(0.05)
    smaller = limit * (1 - Fraction(1, 10**5))  # the margin of 2^-20 of the error moves the limit by less than 2^-20 of itself
    assert sum(binomial(count, smaller)[: changed + 1]) > Fraction(0.05)


def test_no_change_at_all_has_the_limit_of_the_textbook():
    assert share_limit(0, 100, error=0.05) == pytest.approx(1 - 0.05 ** (1 / 100), rel=2**-20)


def test_large_counts_are_covered_by_hoeffding_too():
    for changed, count in [(0, 10**6), (1000, 10**6), (5 * 10**5, 10**6)]:
        limit = share_limit(changed, count, error=0.01)
        assert changed / count < limit <= changed / count + math.sqrt(math.log(1 / 0.01) / (2 * count))


@pytest.mark.parametrize("chances", [[0.5, 0.0, 0.5], [0.9, 0.0, 0.1], [0.0, 0.98, 0.02], [0.2, 0.3, 0.5]])
@pytest.mark.parametrize("count", [2, 5, 12])
def test_the_limit_of_a_mean_covers_as_often_as_it_says(count, chances):
    """Differences of -1, 0 and 1: every outcome is a pair of counts, so coverage is a finite sum."""
    error, mean = 0.2, chances[2] - chances[0]
    covered = 0.0
    for low in range(count + 1):
        for high in range(count + 1 - low):
            same = count - low - high
            ways = math.comb(count, low) * math.comb(count - low, high)
            differences = np.array([-1.0] * low + [0.0] * same + [1.0] * high)
            if mean_limit(differences, width=1.0, error=error) >= mean:
                covered += ways * chances[0] ** low * chances[1] ** same * chances[2] ** high
    assert covered >= 1 - error


def test_the_limit_of_a_mean_gets_to_the_mean():
    """With the exact values of the formula; from 10^5 samples on, width L / n is what is left for constant differences."""
    count, error = 100_000, 0.05
    constant = mean_limit(np.full(count, 0.25), width=1.0, error=error)
    assert constant == pytest.approx(0.25 + 14 * math.log(2 / error) / (3 * (count - 1)), rel=1e-9)
    signs = np.resize([-1.0, 1.0], count)
    expected = math.sqrt(2 * (count / (count - 1)) * math.log(2 / error) / count) + 14 * math.log(2 / error) / (3 * (count - 1))
    assert mean_limit(signs, width=1.0, error=error) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20), st.floats(1e-6, 0.5))
def test_the_limit_of_a_mean_is_above_the_mean_and_within_the_range(differences, error):
    limit = mean_limit(np.array(differences), width=1.0, error=error)
    assert min(sum(differences) / len(differences), 1.0) <= limit <= 1.0


def test_one_sample_says_nothing_about_a_mean():
    assert mean_limit(np.array([-1.0]), width=1.0, error=0.05) == 1.0


@pytest.mark.parametrize("unit", [2.0**-1030, 2.0**-600, 2.0**600, 2.0**990])
def test_the_limit_of_a_mean_scales_with_the_unit_of_the_loss(unit):
    """Squares of such differences vanish or overflow; the spread that they stand for does not."""
    differences = np.where(np.arange(1000) % 2, 1.0, -1.0)
    expected = mean_limit(differences, width=1.0, error=0.05)
    assert math.sqrt(2 * math.log(2 / 0.05) / 1000) < expected < 1
    assert mean_limit(differences * unit, width=unit, error=0.05) == pytest.approx(expected * unit, rel=2**-40)


def test_ties_and_nan_count_as_changes():
    before = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0], [1.0, 0.0], [np.nan, 0.0], [0.0, 2.0]])
    after = np.array([[1.0, 1.0], [2.0, 2.0], [1.0, 0.0], [np.nan, 0.0], [np.nan, 0.0], [-5.0, 0.1]])
    assert changed_predictions(before, after).tolist() == [True, False, True, True, True, False]


SCORES = np.random.default_rng(1).normal(size=(40, 3))


def double(inputs):
    return 2 * inputs


def rotate(inputs):
    return np.roll(inputs, 1, axis=1)


def test_predictions_are_counted_over_all_batches():
    found = empirical_certificate(double, rotate, [SCORES[:30], SCORES[30:]], confidence=0.95)
    assert (found.samples, found.changed, found.changed_ratio_max) == (40, 40, 1.0)
    same = empirical_certificate(double, lambda inputs: 5 * inputs, [SCORES], confidence=0.95)
    assert (same.changed, same.changed_ratio_max) == (0, share_limit(0, 40, error=1 - 0.95))
    assert same.loss_change_max is None


def wrong(outputs, targets):
    return (np.asarray(outputs).argmax(axis=1) != targets).astype(float)


def test_two_limits_share_the_probability_of_error():
    targets = SCORES.argmax(axis=1)
    found = empirical_certificate(double, rotate, [(SCORES, targets)], confidence=0.9, loss=wrong, loss_range=(0, 1))
    assert found.loss_change == 1.0
    assert found.loss_change_max == 1.0
    same = empirical_certificate(double, double, [[SCORES, targets]], confidence=0.9, loss=wrong, loss_range=(0, 1))
    half = (1 - 0.9) / 2
    assert same.changed_ratio_max == share_limit(0, 40, error=half)
    assert same.loss_change_max == mean_limit(np.zeros(40), width=1, error=half)


def test_outputs_that_are_no_classes_have_a_loss_alone():
    found = empirical_certificate(
        lambda x: x[:, 0], lambda x: x[:, 0], [(SCORES, SCORES[:, 0])], confidence=0.9, predictions=False,
        loss=lambda outputs, targets: np.minimum(np.abs(outputs - targets), 1), loss_range=(0.0, 1.0),
    )  # fmt: skip
    assert (found.changed, found.changed_ratio_max) == (None, None)
    assert found.loss_change_max == mean_limit(np.zeros(40), width=1.0, error=1 - 0.9)
    assert "predictions" not in found.told()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_of_torch_leave_their_graph(dtype):
    weight = torch.eye(3, dtype=dtype, requires_grad=True)
    inputs = torch.tensor(SCORES, dtype=dtype)
    found = empirical_certificate(lambda x: x @ weight, lambda x: x @ (3 * weight), [inputs], confidence=0.95)
    assert found.changed == 0


def test_the_sentence_tells_the_limits_and_what_they_rest_on():
    told = empirical_certificate(
        double, double, [(SCORES, SCORES.argmax(axis=1))], confidence=0.95, loss=wrong, loss_range=(0, 1)
    )
    assert told.told() == (  # 1 - 0.025^(1/40) and 14 log(2 / 0.025) / (3 * 39), rounded up
        "With a confidence of 95 %, at most 8.81 % of all predictions change (0 of 40 samples did); and the mean loss rises by "
        "at most 0.5244 (on the 40 samples by 0): if the samples were drawn independently from the population of interest and "
        "had no say in the compression."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"confidence": 0}, "confidence is 0"),
        ({"confidence": math.nan}, "confidence is nan"),
        ({"samples": []}, "there are no samples"),
        ({"samples": SCORES}, "put it into a list"),
        ({"samples": [(SCORES, 1, 2)]}, "a batch of 3 parts"),
        ({"predictions": False}, "nothing to compare"),
        ({"loss": wrong}, "loss and loss_range belong together"),
        ({"loss_range": (0, 1)}, "loss and loss_range belong together"),
        ({"loss": wrong, "loss_range": (1, 1)}, r"loss_range is \(1, 1\)"),
        ({"loss": wrong, "loss_range": (0, math.inf)}, "both finite"),
        ({"loss": wrong, "loss_range": (-1.7e308, 1.7e308)}, "both finite and at most 1e300"),
        ({"loss": wrong, "loss_range": (0, 1)}, "pairs"),
        ({"loss": wrong, "loss_range": (0, 0.5), "samples": [(SCORES, 1 - SCORES.argmax(axis=1))]}, "a loss is 1.0, outside"),
        ({"loss": lambda o, t: math.nan * t, "loss_range": (0, 1), "samples": [(SCORES, np.ones(40))]}, "a loss is nan"),
        ({"loss": lambda o, t: np.zeros(3), "loss_range": (0, 1), "samples": [(SCORES, 0)]}, r"returns \(3,\) for 40 samples"),
        ({"compressed": lambda x: x[:, :2]}, r"\(40, 3\) and \(40, 2\)"),
        ({"original": lambda x: x[:, 0], "compressed": lambda x: x[:, 0]}, "predictions=False"),
        ({"original": lambda x: 3.0}, "a single number"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    arguments = {"original": double, "compressed": double, "samples": [SCORES], "confidence": 0.95, **changes}
    with pytest.raises(ValueError, match=message):
        empirical_certificate(arguments.pop("original"), arguments.pop("compressed"), arguments.pop("samples"), **arguments)


def test_without_scipy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'ellq\[empirical\]'"):
        share_limit(1, 2, error=0.05)
