from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ellq_kernels import Kernels
from ellq_math import measuring
from ellq_math.certificates import certify_neurons

from .matrices import DTYPES, EXAMPLES, Matrix, assert_identical, assert_same, bell_curve, matrices, sign_bit


@st.composite
def changes(draw: st.DrawFn) -> tuple[Matrix, Matrix]:
    """A matrix, and the same with some weights zeroed, some negated and some moved to others' places."""
    before = draw(matrices())
    sources = draw(arrays(np.int64, before.bits.shape, elements=st.integers(0, before.count - 1)))
    how = draw(arrays(np.int64, before.bits.shape, elements=st.integers(0, 3)))
    after = np.choose(how, [before.bits, before.bits * 0, before.bits ^ sign_bit(before.dtype), before.bits.ravel()[sources]])
    return before, Matrix(before.dtype, after.astype(before.bits.dtype))


@EXAMPLES
@given(change=changes())
def test_differences_have_the_bits_of_the_definition(kernels: Kernels, change: tuple[Matrix, Matrix]) -> None:
    before, after = change
    found = kernels.difference(before.load(kernels), after.load(kernels))
    assert_same(found, measuring.difference(before.values, after.values, scale=before.scale))


@EXAMPLES
@given(change=changes())
def test_certificates_of_a_difference_cover_the_exact_one(change: tuple[Matrix, Matrix]) -> None:
    before, after = change
    found = measuring.difference(before.values, after.values, scale=before.scale)
    certificate = certify_neurons(found, fan_in=before.bits.shape[1])
    for row, (old, new) in enumerate(zip(before.values.tolist(), after.values.tolist(), strict=True)):
        gaps = [abs(Fraction(w) - Fraction(v)) for w, v in zip(old, new, strict=True)]
        if np.isfinite(certificate.tail_l1[row]):
            assert Fraction(certificate.tail_l1[row]) >= sum(gaps)
        if np.isfinite(certificate.tail_l2[row]):
            assert Fraction(certificate.tail_l2[row]) ** 2 >= sum(gap**2 for gap in gaps)


@pytest.mark.parametrize("fan_in", [1, 17, 1024, 1025, 3000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_after_a_cut_the_difference_is_its_tails(kernels: Kernels, dtype: str, fan_in: int) -> None:
    matrix = bell_curve(dtype, 3, fan_in)
    weights = matrix.load(kernels)
    tails = kernels.apply(weights, kernels.keep_largest(weights, np.full((3, 1), fan_in // 2), width=fan_in))
    assert_same(kernels.difference(matrix.load(kernels), weights), tails)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dead_neurons_lose_their_whole_rows(kernels: Kernels, dtype: str) -> None:
    matrix = bell_curve(dtype, 4, 1500)
    dead = np.array([True, False, False, True])
    weights = matrix.load(kernels)
    cut = kernels.keep_largest(weights, np.full((4, 1), 500), width=1500)
    kernels.apply(weights, cut)
    kernels.clear_neurons(weights, dead)
    goes = measuring.cut_mask(matrix.magnitudes, cut) | dead[:, np.newaxis]
    assert_identical(matrix.unloaded(kernels, weights), np.where(goes, np.zeros_like(matrix.bits), matrix.bits))
    found = kernels.difference(matrix.load(kernels), weights)
    assert_same(found, measuring.tails(matrix.magnitudes, goes, scale=matrix.scale))


def test_a_difference_that_no_double_holds_is_infinite(kernels: Kernels) -> None:
    largest = np.finfo(np.float64).max
    before, after = (Matrix("F64", np.array([[x, 1.0]]).view(np.uint64)).load(kernels) for x in (largest, -largest))
    tails = kernels.difference(before, after)
    certificate = certify_neurons(tails, fan_in=2)
    assert (certificate.tail_l1[0], certificate.tail_l2[0]) == (np.inf, np.inf)


def test_only_alike_weights_are_compared(kernels: Kernels) -> None:
    weights = bell_curve("F32", 2, 6).load(kernels)
    with pytest.raises(ValueError, match="2 x 6 and 2 x 5 weights given: they must have the same neurons and fan-in"):
        kernels.difference(weights, bell_curve("F32", 2, 5).load(kernels))
    with pytest.raises(ValueError, match="F32 and F16 weights given: they must have the same dtype"):
        kernels.difference(weights, bell_curve("F16", 2, 6).load(kernels))


@pytest.mark.parametrize("dead", [np.zeros(3, bool), np.zeros((2, 1), bool), np.zeros(2, int)])
def test_flags_that_are_not_one_for_each_neuron(kernels: Kernels, dead: np.ndarray) -> None:
    with pytest.raises(ValueError, match="given for 2 neurons: one bool for each"):
        kernels.clear_neurons(bell_curve("F32", 2, 6).load(kernels), dead)
