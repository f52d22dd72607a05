import itertools
from decimal import Decimal, localcontext

import numpy as np
import pytest
from tests.math.network.by_definition import evaluate

from ellq_math.network.intervals import Interval
from ellq_math.network.max_pool import pooled_largest_difference
from ellq_math.network.nodes import Pool, PoolKind, Softmax
from ellq_math.network.softmax import softmax_difference, softmax_image


def boxes(rng, shape):
    low = rng.normal(size=shape) * 2
    fall = rng.normal(size=shape)
    return Interval(low, low + rng.random(shape) * 2), Interval(fall, fall + rng.random(shape))


def samples(rng, where):
    inside = rng.uniform(where.low, where.high, (50, *where.low.shape))
    corners = np.where(rng.random((50, *where.low.shape)) < 0.5, where.low, where.high)
    return np.concatenate([np.clip(inside, where.low, where.high), corners])


@pytest.mark.parametrize("seed", range(10))
def test_softmax_is_covered(seed):
    """Shares are at most 1 and differ from the truth by less than 2^-48: some ten roundings, the exponents below 32 in size."""
    rng = np.random.default_rng(seed)
    where, error = boxes(rng, (4,))
    image, moved = softmax_image(where), softmax_difference(where | (where + error), error)
    for z, d in itertools.product(samples(rng, where)[30:70], samples(rng, error)[30:70]):
        first, second = (evaluate(Softmax(), [one[None]], {})[0] for one in (z, z + d))
        assert (image.low - 2.0**-48 <= first).all()
        assert (first <= image.high + 2.0**-48).all()
        assert (moved.low - 2.0**-47 <= second - first).all()
        assert (second - first <= moved.high + 2.0**-47).all()


@pytest.mark.parametrize("spread", [0.1, 30.0, 600.0])
def test_shares_are_covered_to_the_last_digit(spread):
    for seed in range(20):
        z = np.random.default_rng(seed).normal(size=5) * spread
        found = softmax_image(Interval(z, z))
        with localcontext() as context:
            context.prec = 60
            exponentials = [Decimal(one).exp() for one in z]
            shares = [one / sum(exponentials) for one in exponentials]
            assert all(
                Decimal(low) <= share <= Decimal(high) for low, share, high in zip(found.low, shares, found.high, strict=True)
            )


def test_the_shares_of_certain_logits_are_known():
    """Up to the slack of an exponential, 2^-42, above and below in numerator and denominator."""
    z = np.array([0.0, 1.0, -2.0])
    found = softmax_image(Interval(z, z))
    assert (found.high - found.low <= 2.0**-39).all()


def test_softmax_of_far_logits_is_bounded():
    found = softmax_image(Interval(np.array([-1e300, -5.0, 0.0]), np.array([-1e299, 1e300, 1e300])))
    assert (found.low >= 0).all()
    assert found.high.tolist()[1:] == [1.0, 1.0]
    assert softmax_difference(Interval(np.zeros(1), np.ones(1)), Interval(np.ones(1), np.ones(1))).zeros().all()


def test_only_values_that_can_be_largest_count_in_a_max_pool():
    pool = Pool(PoolKind.MAX, (2,), (2,), (0, 0))
    before = Interval(np.array([[0.0, 5.0]]), np.array([[1.0, 6.0]]))
    error = Interval(np.array([[-3.0, -0.5]]), np.array([[3.0, 0.25]]))
    found = pooled_largest_difference(pool, before, before + error, error)
    assert (found.low.item(), found.high.item()) == (-0.5, 0.25)


@pytest.mark.parametrize("seed", range(20))
def test_differences_of_max_pools_are_covered(seed):
    """One window with padding; z + d is rounded once, as is the difference: below 2^-48 for sums below 8."""
    rng = np.random.default_rng(seed)
    pool = Pool(PoolKind.MAX, (4,), (1,), (1, 1))
    where, error = boxes(rng, (2, 5))
    found = pooled_largest_difference(pool, where, where + error, error)
    for z, d in zip(samples(rng, where), samples(rng, error)[rng.permutation(100)], strict=True):
        first, second = (evaluate(pool, [one[None]], {})[0] for one in (z, z + d))
        assert (found.low - 2.0**-48 <= second - first).all()
        assert (second - first <= found.high + 2.0**-48).all()
