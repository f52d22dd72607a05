from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ellq_kernels import Kernels, make_kernels
from ellq_math import lasso as definition
from ellq_math.dtypes import decode, nearest
from ellq_math.sums import Array

from .matrices import DTYPES, EXAMPLES, Matrix, assert_identical, bell_curve, infinity_key, matrices


def moments(fan_in: int, *, samples: int, seed: int = 0, groups: int = 1) -> Array:
    """Return second moments of correlated, skewed inputs; singular when there are fewer samples than inputs."""
    rng = np.random.default_rng(seed)
    inputs = np.abs(rng.normal(size=(groups, samples, fan_in)) @ rng.normal(size=(groups, fan_in, fan_in)))
    found = np.swapaxes(inputs, 1, 2) @ inputs / samples
    return (found + np.swapaxes(found, 1, 2)) / 2


def exact_form(values: list[float], matrix: Array) -> Fraction:
    """Return x' S x without rounding."""
    x = [Fraction(value) for value in values]
    return sum(x[i] * x[j] * Fraction(float(matrix[i, j])) for i in range(len(x)) for j in range(len(x)))


def exact_loss(before: list[float], after: list[float], matrix: Array) -> Fraction:
    """Return (w - v)' S (w - v) without rounding."""
    rows = [Fraction(w) - Fraction(v) for w, v in zip(before, after, strict=True)]
    return sum(a * b * Fraction(float(matrix[i, j])) for i, a in enumerate(rows) for j, b in enumerate(rows))


def fit(kernels: Kernels, matrix: Matrix, second_moments: Array, epsilon: float) -> tuple[Matrix, Array]:
    weights = matrix.load(kernels)
    kept = kernels.lasso(weights, second_moments, epsilon=epsilon)
    return Matrix(matrix.dtype, matrix.unloaded(kernels, weights).copy()), kept


def assert_promised(before: Matrix, after: Matrix, second_moments: Array, epsilon: float) -> None:
    """What is lost is exactly within epsilon, and no weight came to life."""
    neurons_each = len(before.bits) // len(second_moments)
    for neuron, (w, v) in enumerate(zip(before.values.tolist(), after.values.tolist(), strict=True)):
        matrix = second_moments[neuron // neurons_each]
        assert exact_loss(w, v, matrix) <= Fraction(epsilon) ** 2 * exact_form(w, matrix)
    assert not (after.values[before.values == 0]).any()


@st.composite
def problems(draw: st.DrawFn) -> tuple[Matrix, Array, float]:
    """Hostile weights, second moments of any scale with dead and repeated inputs among them, and an epsilon."""
    matrix = draw(matrices(max_fan_in=7))
    neurons, fan_in = matrix.bits.shape
    groups = draw(st.sampled_from([1, neurons]))
    inputs = draw(arrays(np.float64, (groups, draw(st.integers(1, 9)), fan_in), elements=st.integers(-3, 3)))
    found = np.swapaxes(inputs, 1, 2) @ inputs * draw(st.sampled_from([1.0, 0.1, 2.0**-1060, 1e-150, 1e300]))
    return matrix, found, draw(st.sampled_from([1e-200, 1e-9, 0.03, 0.3, 0.999]))


@EXAMPLES
@given(problem=problems())
def test_the_lasso_has_the_bits_of_the_definition_and_keeps_its_promise(
    kernels: Kernels, problem: tuple[Matrix, Array, float]
) -> None:
    before, second_moments, epsilon = problem
    after, kept = fit(kernels, before, second_moments, epsilon)
    again, _ = fit(make_kernels("reference"), before, second_moments, epsilon)
    assert_identical(after.bits, again.bits)
    assert_identical(kept, (after.values != 0).sum(axis=1))
    assert_promised(before, after, second_moments, epsilon)


def test_nothing_is_lost_where_the_form_overflows(kernels: Kernels) -> None:
    before = Matrix("F64", np.array([[0.0, 1.797e308]]).view(np.uint64))
    after, kept = fit(kernels, before, np.array([[[4e300, 2e300], [2e300, 1e300]]]), 1e-9)
    assert_identical(after.bits, before.bits)
    assert kept.tolist() == [1]


@pytest.mark.parametrize("epsilon", [0.02, 0.3])
@pytest.mark.parametrize("samples", [15, 200])
@pytest.mark.parametrize("dtype", DTYPES)
def test_ordinary_neurons(kernels: Kernels, dtype: str, samples: int, epsilon: float) -> None:
    before, second_moments = bell_curve(dtype, 4, 30), moments(30, samples=samples, groups=2)
    after, kept = fit(kernels, before, second_moments, epsilon)
    again, _ = fit(make_kernels("reference"), before, second_moments, epsilon)
    assert_identical(after.bits, again.bits)
    assert_promised(before, after, second_moments, epsilon)
    assert (kept > 0).all()
    assert (kept < 30).all() or epsilon < 0.3


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tiny_epsilon_keeps_every_bit(kernels: Kernels, dtype: str) -> None:
    before = bell_curve(dtype, 3, 20)
    after, kept = fit(kernels, before, moments(20, samples=100), 1e-7)
    assert_identical(after.bits, before.bits)
    assert kept.tolist() == [20, 20, 20]


@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_that_are_always_zero_lose_their_weights(kernels: Kernels, dtype: str) -> None:
    before, matrix = bell_curve(dtype, 2, 8), moments(8, samples=100)
    matrix[:, 3, :] = matrix[:, :, 3] = 0.0
    after, kept = fit(kernels, before, matrix, 1e-7)
    expected = before.bits.copy()
    expected[:, 3] = 0
    assert_identical(after.bits, expected)
    after, kept = fit(kernels, before, np.zeros((1, 8, 8)), 0.5)
    assert not after.bits.any()
    assert kept.tolist() == [0, 0]


def test_repeated_inputs_are_served_by_one_weight(kernels: Kernels) -> None:
    """Six copies of one input: their weights add up to one, at no loss but rounding."""
    before = Matrix("F64", np.linspace(1.0, 2.0, 6)[np.newaxis].copy().view(np.uint64))
    after, kept = fit(kernels, before, np.ones((1, 6, 6)), 1e-3)
    assert kept.tolist() == [1]
    assert abs(after.values.sum() - before.values.sum()) <= 1e-3 * before.values.sum()


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_no_fewer_weights_are_kept_than_the_best_support_has(epsilon: float) -> None:
    before, kernels = bell_curve("F64", 40, 6), make_kernels("cpu")
    matrix = moments(6, samples=100, seed=3)
    _, kept = fit(kernels, before, matrix, epsilon)
    fewest = [fewest_weights(w, matrix[0], epsilon) for w in before.values]
    assert (kept >= fewest).all()
    assert kept.sum() < before.count


@pytest.mark.parametrize("epsilon", [0.001, 0.05, 0.3, 0.9])
def test_of_uncorrelated_inputs_the_fewest_weights_stay_as_they_are(kernels: Kernels, epsilon: float) -> None:
    """Penalties are closer together than these weights are, so each enters by itself, largest first."""
    magnitudes = 2.0 ** -np.random.default_rng(0).permutation(12)
    before = Matrix("F32", (magnitudes * np.resize([1, -1], 12)).astype(np.float32)[np.newaxis].view(np.uint32))
    after, kept = fit(kernels, before, np.eye(12)[np.newaxis], epsilon)
    assert kept.tolist() == [fewest_weights(before.values[0], np.eye(12), epsilon)]
    assert_identical(after.bits, np.where(magnitudes > 2.0 ** -float(kept[0]), before.bits, np.uint32(0)))


def fewest_weights(w: Array, matrix: Array, epsilon: float) -> int:
    """Return the size of the smallest support whose least squares fit loses at most epsilon, by trying all."""
    for size in range(len(w)):
        for support in combinations(range(len(w)), size):
            kept = np.array(support, int)
            v = np.zeros_like(w)
            v[kept] = np.linalg.solve(matrix[np.ix_(kept, kept)], (matrix @ w)[kept])
            if (w - v) @ matrix @ (w - v) <= epsilon**2 * (w @ matrix @ w):
                return size
    return len(w)


def test_correlated_inputs_lose_less_than_by_magnitude(kernels: Kernels) -> None:
    before, matrix = bell_curve("F32", 20, 40), moments(40, samples=200)
    after, kept = fit(kernels, before, matrix, 0.2)
    by_magnitude = before.load(kernels)
    kernels.apply(by_magnitude, kernels.keep_largest(by_magnitude, kept[:, np.newaxis], width=40))
    cut = decode(before.unloaded(kernels, by_magnitude), "F32")

    def loss(values: Array) -> Array:
        lost = before.values - values
        return np.sqrt(np.einsum("ni,ij,nj->n", lost, matrix[0], lost))

    assert loss(after.values).mean() < loss(cut).mean()


@EXAMPLES
@given(seed=st.integers(0, 1000), penalty=st.floats(0.01, 0.9))
def test_coordinate_descent_ends_where_the_penalty_is_met(seed: int, penalty: float) -> None:
    """S_j'(w - v) is +-lam on the support and within it elsewhere, up to what a step at rest can move it.

    When all are at rest, no step of the last sweep was above sqrt(rest / S_jj), and coordinate j was exact when it was
    visited: since then its gradient has moved by at most sum_i |S_ij| sqrt(rest / S_ii) <= d sqrt(rest S_jj). Rounding is far
    below that.
    """
    fan_in, rest = 8, 1e-12
    matrix = moments(fan_in, samples=100, seed=seed)[0]
    w = bell_curve("F64", 1, fan_in, seed=seed).values[0]
    fitted, gradient = np.zeros(fan_in), matrix @ w
    lam = penalty * np.abs(gradient).max()
    takes_part = np.ones(fan_in, bool)
    assert definition.descend(matrix, fitted, gradient, takes_part, penalty=lam, rest=rest, sweeps=100_000)
    slack = fan_in * np.sqrt(rest * np.diagonal(matrix)) * 1.001
    pull = matrix @ (w - fitted)
    support = fitted != 0
    assert (np.abs(pull - lam * np.sign(fitted))[support] <= slack[support]).all()
    assert (np.abs(pull)[~support] <= lam + slack[~support]).all()


@EXAMPLES
@given(problem=problems())
def test_what_is_doubted_covers_every_rounding(problem: tuple[Matrix, Array, float]) -> None:
    """Of the form as it is computed against the exact one, at the scale that forms are computed at."""
    matrix, second_moments, _ = problem
    roots = np.sqrt(np.diagonal(second_moments[0]))
    takes_part = (matrix.values[0] != 0) & (roots > 0)
    w = np.where(takes_part, matrix.values[0], 0.0)
    with np.errstate(over="ignore"):
        exponent = definition.scale_exponent(float(np.max(np.abs(w) * roots)))
    scaled = w * np.ldexp(1.0, -exponent)
    with np.errstate(over="ignore", invalid="ignore"):
        computed = definition.dot(scaled, definition.times(second_moments[0], scaled))
        doubt = definition.doubt(roots, scaled)
    if np.isfinite(computed) and np.isfinite(doubt):
        exact = exact_form(w.tolist(), second_moments[0]) / Fraction(2) ** (2 * exponent)
        assert abs(Fraction(computed) - exact) <= Fraction(doubt)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_a_refit_rounds_to_is_nearest(dtype: str) -> None:
    from ellq_kernels.cpu.decoding import FORMATS, bits_nearest

    top = infinity_key(dtype)
    kind = Matrix(dtype, bell_curve(dtype, 1, 1).bits).bits.dtype
    keys = np.unique(np.append(np.linspace(0, top - 1, 3000).astype(kind), np.arange(2100, dtype=kind)))
    at = decode(keys, dtype)
    between = at[:-1] + (at[1:] - at[:-1]) / 2
    for value in np.concatenate([at, between, np.nextafter(between, 0), np.nextafter(between, np.inf), -at, [1e309, -1e309]]):
        found = np.array([bits_nearest(value, FORMATS[dtype]) & (2 ** (8 * kind.itemsize) - 1)], np.uint64).astype(kind)
        assert_identical(decode(found, dtype), nearest(np.array([value]), dtype))


def test_any_number_of_threads_fits_the_same() -> None:
    before, matrix = bell_curve("F32", 60, 120), moments(120, samples=300, groups=3)
    alone, _ = fit(make_kernels("cpu", threads=1), before, matrix, 0.2)
    shared, _ = fit(make_kernels("cpu", threads=5), before, matrix, 0.2)
    assert_identical(shared.bits, alone.bits)


def with_entry(row: int, column: int, value: float) -> Array:
    matrix = np.eye(4)[np.newaxis].copy()
    matrix[0, row, column] = value
    return matrix


@pytest.mark.parametrize(
    ("matrix", "epsilon", "complaint"),
    [
        (np.eye(4)[np.newaxis], 0.0, "epsilon is 0.0; allowed is above 0 and below 1"),
        (np.eye(4)[np.newaxis], 1.0, "epsilon is 1.0"),
        (np.eye(4)[np.newaxis], np.nan, "epsilon is nan"),
        (np.eye(4), 0.1, r"found shape \(4, 4\); allowed is \(groups, 4, 4\), with groups that divide 6 neurons"),
        (np.ones((4, 4, 4)), 0.1, r"found shape \(4, 4, 4\)"),
        (with_entry(1, 1, -1.0), 0.1, "matrix 0 holds NaN, infinity or an S_ij beyond"),
        (with_entry(1, 2, np.nan), 0.1, "matrix 0 holds NaN"),
        (with_entry(3, 3, np.inf), 0.1, "matrix 0 holds NaN"),
        (with_entry(0, 1, 2.1), 0.1, "matrix 0 holds NaN"),
    ],
)
def test_moments_that_no_inputs_have(kernels: Kernels, matrix: Array, epsilon: float, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        kernels.lasso(bell_curve("F32", 6, 4).load(kernels), matrix, epsilon=epsilon)


def test_moments_may_lie_anywhere_in_memory(kernels: Kernels) -> None:
    before, matrix = bell_curve("F32", 3, 10), moments(10, samples=50)
    raw = np.frombuffer(b"?" + matrix.tobytes(), np.uint8)[1:].view(np.float64).reshape(matrix.shape)
    assert not raw.flags.writeable
    assert_identical(fit(kernels, before, raw, 0.2)[0].bits, fit(kernels, before, matrix, 0.2)[0].bits)
