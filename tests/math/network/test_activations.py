"""Held against the functions themselves, to 200 digits: sums and products of floats of these sizes are then exact."""

import itertools
from decimal import Decimal, localcontext

import numpy as np
import pytest
from tests.math.network.networks import ACTIVATIONS, RATIONAL_ACTIVATIONS

from ellq_math.network import curves
from ellq_math.network.activations import SMOOTH, at_zero, difference, image, lipschitz
from ellq_math.network.intervals import Interval, point
from ellq_math.network.nodes import Activation, ActivationKind
from ellq_math.sums import UNIT_ROUNDOFF

DIGITS = 200


def arctan(denominator):
    """Return arctan(1 / denominator) by its series."""
    with localcontext() as context:
        context.prec = 2 * DIGITS
        terms = (Decimal((-1) ** n) / (2 * n + 1) / Decimal(denominator) ** (2 * n + 1) for n in range(2 * DIGITS))
        return sum(terms, start=Decimal(0))


PI = 16 * arctan(5) - 4 * arctan(239)
BY_NAME = [pytest.param(one, id=one.kind.value) for one in ACTIVATIONS]
STRAIGHT = [pytest.param(one, id=one.kind.value) for one in RATIONAL_ACTIVATIONS if one.kind is not ActivationKind.HARD_SWISH]
TURNS = [
    pytest.param(curve, slope, kind, id=kind.value)
    for kind, (curve, slope) in SMOOTH.items()
    if kind in (ActivationKind.GELU, ActivationKind.GELU_TANH, ActivationKind.SILU)
]


@pytest.fixture(autouse=True)
def _many_digits():
    with localcontext() as context:
        context.prec = DIGITS
        yield


def exact(activation, x):
    """Return the value at a float or Decimal, far more exactly than a float can tell."""
    x = Decimal(x)
    parameters = [Decimal(one) for one in activation.parameters]
    return FUNCTIONS[activation.kind](x, *parameters)


def sigmoid(x):
    return 1 / (1 + (-x).exp())


def tanh(x):
    return 2 * sigmoid(2 * x) - 1


def gauss(x):
    """Phi by its series, 1/2 + (x + x^3 / 3 + x^5 / (3 5) + ...) exp(-x^2 / 2) / sqrt(2 pi)."""
    with localcontext() as context:
        context.prec = DIGITS + 50
        term = total = x
        odd = 1
        while abs(term) > Decimal(10) ** -DIGITS:
            odd += 2
            term = term * x * x / odd
            total += term
        return Decimal("0.5") + total * (-x * x / 2).exp() / (2 * PI).sqrt()


FUNCTIONS = {
    ActivationKind.IDENTITY: lambda x: x,
    ActivationKind.RELU: lambda x: max(x, Decimal(0)),
    ActivationKind.LEAKY_RELU: lambda x, slope: x if x > 0 else slope * x,
    ActivationKind.CLIP: lambda x, least, largest: min(max(x, least), largest),
    ActivationKind.SIGMOID: sigmoid,
    ActivationKind.TANH: tanh,
    ActivationKind.GELU: lambda x: x * gauss(x),
    ActivationKind.GELU_TANH: lambda x: x * (1 + tanh((2 / PI).sqrt() * (x + Decimal("0.044715") * x**3))) / 2,
    ActivationKind.SILU: lambda x: x * sigmoid(x),
    ActivationKind.ELU: lambda x, alpha: x if x > 0 else alpha * (x.exp() - 1),
    ActivationKind.SOFTPLUS: lambda x: (1 + x.exp()).ln(),
    ActivationKind.HARD_SIGMOID: lambda x: min(max(x + 3, Decimal(0)), Decimal(6)) / 6,
    ActivationKind.HARD_SWISH: lambda x: x * min(max(x + 3, Decimal(0)), Decimal(6)) / 6,
}


def intervals(rng, count, scale):
    ends = np.sort(rng.normal(size=(2, count)) * scale * rng.choice([1e-9, 1e-3, 1.0], size=(1, count)), axis=0)
    return ends + rng.choice([0.0, 1.0], size=count) * rng.normal(size=count) * scale


@pytest.mark.parametrize("activation", BY_NAME)
def test_every_value_lies_in_the_image(activation):
    rng = np.random.default_rng(1)
    low, high = intervals(rng, 60, 3.0)
    found = image(activation, Interval(low, high))
    for place, share in itertools.product(range(60), (0.0, 0.3, 0.7, 1.0)):
        x = min(low[place] + share * (high[place] - low[place]), high[place])
        assert Decimal(found.low[place]) <= exact(activation, x) <= Decimal(found.high[place])


@pytest.mark.parametrize("activation", BY_NAME)
def test_differences_are_covered(activation):
    rng = np.random.default_rng(2)
    low, high = intervals(rng, 60, 2.0)
    fall, rise = intervals(rng, 60, 1.0)
    before, error = Interval(low, high), Interval(fall, rise)
    found = difference(activation, before, before + error, error)
    for place, first, second in itertools.product(range(60), (0.0, 0.4, 1.0), (0.0, 0.6, 1.0)):
        z = Decimal(min(low[place] + first * (high[place] - low[place]), high[place]))
        d = Decimal(min(fall[place] + second * (rise[place] - fall[place]), rise[place]))
        moved = exact(activation, z + d) - exact(activation, z)
        assert Decimal(found.low[place]) <= moved <= Decimal(found.high[place])


@pytest.mark.parametrize("activation", BY_NAME)
def test_the_image_of_a_number_is_as_narrow_as_roundings_allow(activation):
    x = np.linspace(-12, 12, 97)
    found = image(activation, point(x))
    widest = (2 * curves.SLACK + 4) * UNIT_ROUNDOFF * (1 + np.abs(x))
    assert (found.high - found.low <= widest).all()


@pytest.mark.parametrize("activation", STRAIGHT)
def test_straight_pieces_are_exact(activation):
    """A piecewise linear function of z and d is extreme in a corner of its pieces within the box."""
    rng = np.random.default_rng(3)
    low, high = intervals(rng, 60, 2.0)
    fall, rise = intervals(rng, 60, 2.0)
    found = difference(activation, Interval(low, high), Interval(low, high) + Interval(fall, rise), Interval(fall, rise))
    bends = [Decimal(bend) for bend in (0, *activation.parameters, -3, 3)]
    for place in range(60):
        first, last = Decimal(low[place]), Decimal(high[place])
        moved = [
            exact(activation, z + d) - exact(activation, z)
            for d in (Decimal(fall[place]), Decimal(rise[place]))
            for z in (first, last, *(min(max(bend - part, first), last) for bend in bends for part in (0, d)))
        ]
        slack = Decimal(16 * UNIT_ROUNDOFF * (3 + max(map(abs, (low[place], high[place], fall[place], rise[place])))))
        assert max(moved) <= Decimal(found.high[place]) <= max(moved) + slack
        assert min(moved) - slack <= Decimal(found.low[place]) <= min(moved)


def test_known_signs_decide_what_a_relu_lets_through():
    error = Interval(np.array([-0.25, -0.25]), np.array([0.5, 0.5]))
    before = Interval(np.array([0.25, -2.0]), np.array([1.0, -0.5]))
    found = difference(Activation(ActivationKind.RELU), before, before + error, error)
    assert found.low.tolist() == [-0.25, 0.0]
    assert found.high.tolist() == [0.5, 0.0]


@pytest.mark.parametrize("activation", BY_NAME)
def test_without_an_error_nothing_moves(activation):
    where = Interval(np.array([-1.0, 0.0, 2.0]), np.array([1.0, 0.0, 3.0]))
    found = difference(activation, where, where, point(np.zeros(3)))
    assert found.zeros().all()


@pytest.mark.parametrize("activation", BY_NAME)
def test_no_two_values_lie_further_apart_than_the_lipschitz_constant_allows(activation):
    xs = [Decimal(x) / 16 for x in range(-80, 81)]
    values = [exact(activation, x) for x in xs]
    steepest = Decimal(lipschitz(activation))
    assert all(abs(b - a) <= steepest * (y - x) for (x, a), (y, b) in itertools.pairwise(zip(xs, values, strict=True)))
    assert abs(exact(activation, 0.0)) <= abs(Decimal(at_zero(activation))) <= abs(exact(activation, 0.0)) + Decimal(2) ** -50


@pytest.mark.parametrize("activation", BY_NAME)
def test_lipschitz_constants_are_attained(activation):
    """Within 1e-9: constants have twelve digits, and near a turn the slope differs by less than the square of the distance."""
    turns = (0.0, -1.0, 1.0, 3.0, 2.0**0.5, 1.4185040088, 2.3993572805, 30.0)  # softplus comes within exp(-30) of its 1
    step = Decimal("1e-12")
    sides = [(Decimal(x), side * step) for x in turns for side in (1, -1)]
    slopes = [(exact(activation, x + move) - exact(activation, x)) / move for x, move in sides]
    assert max(map(abs, slopes)) >= Decimal(lipschitz(activation)) - Decimal("1e-9")


@pytest.mark.parametrize(("curve", "slope", "kind"), TURNS)
def test_curves_turn_where_they_are_said_to(curve, slope, kind):
    activation = Activation(kind)

    def slope_at(x):
        step = Decimal("1e-20")
        return (exact(activation, x + step) - exact(activation, x - step)) / (2 * step)

    def bend_at(x):
        step = Decimal("1e-12")
        return exact(activation, x + step) - 2 * exact(activation, x) + exact(activation, x - step)

    for turn, derivative, value in (
        (curve.valley, slope_at, lambda x: exact(activation, x)),
        (slope.valley, bend_at, slope_at),
        (slope.peak, bend_at, slope_at),
    ):
        first, last = Decimal(turn.first), Decimal(turn.last)
        assert derivative(first) * derivative(last) < 0
        outermost = value((first + last) / 2)
        assert abs(Decimal(turn.value)) >= abs(outermost) >= abs(Decimal(turn.value)) - Decimal("1e-11")


def test_far_out_nothing_becomes_nan():
    ends = np.array([-1e300, -800.0, -40.0, 40.0, 800.0, 1e300])
    where = Interval(ends, ends)
    with np.errstate(all="ignore"):
        for activation in ACTIVATIONS:
            found = image(activation, where)
            assert found.is_bounded()
            assert difference(activation, where, where, where).is_bounded()
