from decimal import Context, Decimal

import numpy as np
import pytest

from ellq_math.powers import POWER_ROUNDINGS, power

EXACT = Context(prec=50)
ORDERS = (0.05, 0.1, 0.3, 1 / 3, 0.75, 0.999, 1.25, 1.9)


def exact_power(magnitude, order):
    return EXACT.power(Decimal(magnitude), Decimal(order))


def magnitudes():
    """Exponents all over the range of doubles, then edges: powers of two, their neighbours, subnormals, table borders."""
    generator = np.random.default_rng(2)
    spread = np.ldexp(1 + generator.random(300), np.linspace(-1074, 500, 300).astype(int))
    edges = [1.0, np.nextafter(1, 0), np.nextafter(1, 2), 1 + 1 / 2048, np.nextafter(1 + 1 / 2048, 0), 5e-324, 2.0**-1022]
    return np.concatenate([spread, edges])


@pytest.mark.parametrize("order", ORDERS)
def test_a_power_is_within_its_roundings(order):
    tested = magnitudes()
    for magnitude, found in zip(tested.tolist(), power(tested, order).tolist(), strict=True):
        exact = exact_power(magnitude, order)
        if exact > Decimal(2.0**-1022):
            assert abs(Decimal(found) - exact) <= POWER_ROUNDINGS * exact / 2**53


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0])
def test_common_orders_are_correctly_rounded(order):
    tested = np.ldexp(1 + np.random.default_rng(3).random(500), np.arange(500) - 250)
    assert power(tested, order).tolist() == [float(exact_power(x, order)) for x in tested.tolist()]


@pytest.mark.parametrize("order", [*ORDERS, 0.5, 1.0, 2.0])
def test_zero_gives_zero_and_one_gives_one(order):
    zero, one = power(np.array([0.0, 1.0]), order)
    assert zero == 0
    assert abs(one - 1) <= POWER_ROUNDINGS * 2.0**-53


def test_a_power_never_changes_its_input():
    tested = np.array([0.25, 0.5])
    for order in (0.3, 1.0):
        power(tested, order)[0] = 9
    assert tested.tolist() == [0.25, 0.5]
