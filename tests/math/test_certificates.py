import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_math.certificates import certify_layer, certify_neurons, certify_pool, cut_norm, whole_norm
from ellq_math.dtypes import WEIGHT_DTYPES, decode
from ellq_math.measuring import measure, tails
from ellq_math.sums import UNIT_ROUNDOFF, sum_roundings

LOOSENESS = 3 * 2 * (3 * sum_roundings(100) + 8) * UNIT_ROUNDOFF
"""Rounding up costs at most thrice the roundings it pays for: three sums on either side of a ratio, and a few single ones."""


@st.composite
def cut_tensors(draw):
    """Finite weights of any dtype from raw bits (so every exponent, subnormals too), and which of them to cut."""
    dtype = WEIGHT_DTYPES[draw(st.sampled_from(sorted(WEIGHT_DTYPES)))]
    neurons, fan_in = draw(st.integers(1, 4)), draw(st.integers(1, 20))
    width = 8 * dtype.itemsize
    exponent_bits = width - 1 - dtype.mantissa_bits
    finite = st.integers(0, (2**exponent_bits - 1) * 2**dtype.mantissa_bits - 1)  # below the pattern of infinity
    bits = draw(st.lists(finite, min_size=neurons * fan_in, max_size=neurons * fan_in))
    cut = draw(st.lists(st.booleans(), min_size=neurons * fan_in, max_size=neurons * fan_in))
    magnitudes = decode(np.array(bits, dtype=dtype.bits), dtype.name).reshape(neurons, fan_in)
    return magnitudes, np.array(cut).reshape(neurons, fan_in), dtype.name == "F64"


def exact_power_sum(values, p):
    return sum(Fraction(value) ** p for value in values.ravel().tolist())


def assert_just_above(found, exact, p):
    """found is at least exact^(1/p), and no more than roundings and a subnormal ulp or two above."""
    assert found >= 0
    if math.isfinite(found):
        assert Fraction(found) ** p >= exact
        assert (Fraction(found) / Fraction(1 + LOOSENESS) - Fraction(3, 2**1074)) ** p <= exact or found <= 3 * 5e-324
    else:
        assert exact > Fraction(np.finfo(np.float64).max) ** p / Fraction(1 + LOOSENESS) ** p


@given(cut_tensors())
def test_certificates_cover_the_exact_tails_of_every_dtype(tensor):
    magnitudes, cut, scale = tensor
    removed = np.where(cut, magnitudes, 0)
    measured = tails(magnitudes, cut, scale=scale)
    neurons = certify_neurons(measured, fan_in=magnitudes.shape[1])
    for row, tail_l1, tail_l2 in zip(removed, neurons.tail_l1.tolist(), neurons.tail_l2.tolist(), strict=True):
        assert_just_above(tail_l1, exact_power_sum(row, 1), 1)
        assert_just_above(tail_l2, exact_power_sum(row, 2), 2)
    layer = certify_layer(measured, measure(magnitudes, (2.0,), scale=scale), replaced=False)
    assert layer.tail_l1_max == neurons.tail_l1.max()
    assert layer.tail_l2_max == neurons.tail_l2.max()
    assert_just_above(layer.frobenius, exact_power_sum(removed, 2), 2)
    whole = exact_power_sum(magnitudes, 2)
    if whole:
        assert layer.frobenius_ratio <= 1
        assert_just_above(layer.frobenius_ratio, exact_power_sum(removed, 2) / whole, 2)
    else:
        assert layer.frobenius_ratio == 0


@given(st.lists(cut_tensors(), min_size=1, max_size=4))
def test_pooled_certificates_cover_all_tensors_whatever_their_dtypes(tensors):
    cuts = [cut_norm(tails(w, cut, scale=scale), fan_in=w.shape[1], replaced=False) for w, cut, scale in tensors]
    wholes = [whole_norm(measure(w, (2.0,), scale=scale)) for w, _, scale in tensors]
    pooled = certify_pool(cuts, wholes)
    removed = sum(exact_power_sum(np.where(cut, w, 0), 2) for w, cut, _ in tensors)
    whole = sum(exact_power_sum(w, 2) for w, _, _ in tensors)
    assert_just_above(pooled.frobenius, removed, 2)
    if whole:
        assert_just_above(pooled.frobenius_ratio, removed / whole, 2)
    else:
        assert pooled.frobenius_ratio == 0


def test_a_certificate_pays_for_every_rounding_of_its_sum():
    """A sum that is one ulp too small for each rounding it met must still be covered."""
    fan_in = 10**6
    rows = np.full((1, fan_in), 0.1)
    measured = tails(rows, rows > 0, scale=False)
    worst = float(measured.l1[0]) / (1 - 2.0**-53) ** sum_roundings(fan_in)
    assert certify_neurons(measured, fan_in=fan_in).tail_l1[0] >= worst


def test_small_tensor_by_hand():
    rows = np.array([[3.0, 4.0, 12.0], [1.0, 2.0, 2.0]])
    cut = np.array([[True, True, False], [True, False, False]])
    layer = certify_layer(tails(rows, cut, scale=False), measure(rows, (2.0,), scale=False), replaced=False)
    assert (layer.tail_l1_max, layer.tail_l2_max) == pytest.approx((7, 5), rel=LOOSENESS)
    assert layer.frobenius == pytest.approx(math.sqrt(26), rel=LOOSENESS)
    assert layer.frobenius_ratio == pytest.approx(math.sqrt(26 / 178), rel=LOOSENESS)
    assert (layer.tail_l1_max > 7, layer.tail_l2_max > 5) == (True, True)
