import itertools
from fractions import Fraction

import numpy as np
import pytest
from tests.math.network.by_definition import evaluate, exactly
from tests.math.network.networks import Pair, shapes_of

from ellq_math.network import linear_maps
from ellq_math.network.intervals import Interval, l2_norm, point
from ellq_math.network.layer_gains import layer_rows
from ellq_math.network.linear_maps import channel_line, enclose, layer_map, mean_map
from ellq_math.network.nodes import Affine, BatchNorm, Conv, GlobalMean, Input, Linear, Node, Pool, PoolKind, Topology
from ellq_math.network.topology import read_graph
from ellq_math.sums import UNIT_ROUNDOFF

SMALLEST = 2.0**-1074
STEPS = [
    (Linear("weight"), (6,), (4, 6)),
    (Linear("weight", transposed=True), (6,), (6, 4)),
    (Conv("weight", stride=(3,), padding=(2, 1), dilation=(2,), groups=2), (4, 9), (6, 2, 3)),
    (Conv("weight", stride=(2, 1), padding=(1, 0, 2, 3), dilation=(1, 2)), (2, 7, 9), (3, 2, 3, 2)),
    (Conv("weight", padding=(1,), groups=4), (4, 5, 5), (4, 1, 3, 3)),
]
MEANS = [
    (Pool(PoolKind.MEAN, (3, 2), (2, 1), (1, 0, 2, 2)), (2, 7, 6)),
    (Pool(PoolKind.MEAN, (3,)), (2, 7)),
    (GlobalMean(), (3, 5, 2)),
]
SCALES = [(1.0, 1.0), (1e-160, 1e-160), (SMALLEST, 1.0), (1e300, SMALLEST), (1e-310, 1e-5), (1e150, 1e150)]
"""Of weights and of values."""


def step_of(operation, shape, tensors):
    nodes = (Node("x", (), Input(shape)), Node("y", ("x",), operation))
    return read_graph(Topology(nodes), shapes_of(tensors)).step("y")


def truth(operation, tensors, x):
    exact = {name: exactly(tensor) for name, tensor in tensors.items()}
    return evaluate(operation, [exactly(x)[None]], exact)[0]


def covers(found, values):
    pairs = zip(found.low.ravel(), values.ravel(), found.high.ravel(), strict=True)
    return all(Fraction(low) <= value <= Fraction(high) for low, value, high in pairs)


@pytest.mark.parametrize(("operation", "shape", "stored"), STEPS)
@pytest.mark.parametrize("buffer", [1, 1 << 19])
def test_rows_meet_the_windows_that_they_should(operation, shape, stored, buffer, monkeypatch):
    """On whole numbers, where no order of addition makes a difference."""
    monkeypatch.setattr(linear_maps, "BUFFER", buffer)
    rng = np.random.default_rng(1)
    tensors = {"weight": rng.integers(-9, 10, stored).astype(float)}
    x = rng.integers(-9, 10, shape).astype(float)
    step = step_of(operation, shape, tensors)
    linear = layer_map(step, stored)
    found = linear.apply(layer_rows(step.node.operation, tensors["weight"]), x)
    assert (found == evaluate(operation, [x[None]], tensors)[0]).all()
    assert linear.terms == step.fan_in


@pytest.mark.parametrize(("operation", "shape", "stored"), STEPS)
def test_an_enclosure_is_the_hull_up_to_roundings(operation, shape, stored):
    """The extreme values are those of the corners that the signs of the weights choose."""
    rng = np.random.default_rng(2)
    weight = rng.normal(size=stored)
    low = rng.normal(size=shape)
    high = low + rng.random(shape) * rng.choice([0, 1e-9, 1.0], size=shape)
    step = step_of(operation, shape, {"weight": weight})
    found = enclose(layer_map(step, stored), layer_rows(operation, weight), Interval(low, high))
    raising, lowering = ({"weight": one} for one in (np.maximum(weight, 0), np.minimum(weight, 0)))
    top = truth(operation, raising, high) + truth(operation, lowering, low)
    bottom = truth(operation, raising, low) + truth(operation, lowering, high)
    assert covers(found, top)
    assert covers(found, bottom)
    magnitudes = evaluate(operation, [np.maximum(np.abs(low), np.abs(high))[None]], {"weight": np.abs(weight)})[0]
    slack = 8 * (step.fan_in + 8) * UNIT_ROUNDOFF * magnitudes + 2 * step.fan_in * linear_maps.UNDERFLOW
    assert (found.high - top.astype(float) <= slack).all()
    assert (bottom.astype(float) - found.low <= slack).all()


@pytest.mark.parametrize("operation", [STEPS[0], STEPS[2]])
@pytest.mark.parametrize(
    "scales", [(1.0, 1.0), (1e-160, 1e-160), (SMALLEST, 1.0), (1e300, SMALLEST), (1e-310, 1e-5), (1e150, 1e150)]
)
def test_roundings_and_underflow_are_paid_for(operation, scales):
    operation, shape, stored = operation
    rng = np.random.default_rng(3)
    weight, x = rng.normal(size=stored) * scales[0], rng.normal(size=shape) * scales[1]
    weight[rng.random(stored) < 0.3] *= -(2.0**20)
    step = step_of(operation, shape, {"weight": weight})
    found = enclose(layer_map(step, stored), layer_rows(operation, weight), point(x))
    assert covers(found, truth(operation, {"weight": weight}, x))


@pytest.mark.parametrize("exponents", [(-540, -540), (990, -1060), (-1060, 990)])
def test_what_many_terms_lose_by_underflow_is_paid_for(exponents):
    """Products that all vanish, and numbers so small that their own share of roundings vanishes."""
    rng = np.random.default_rng(8)
    weight = np.ldexp(rng.uniform(0.5, 1, (20, 1000)), exponents[0])
    x = np.ldexp(rng.uniform(0.5, 1, 1000), exponents[1])
    step = step_of(Linear("weight"), (1000,), {"weight": weight})
    found = enclose(layer_map(step, weight.shape), weight, point(x))
    assert covers(found, truth(Linear("weight"), {"weight": weight}, x))


def test_zero_rows_and_zero_values_give_exactly_zero():
    linear = layer_map(step_of(Linear("w"), (2,), {"w": np.ones((3, 2))}), (3, 2))
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 3.0]])
    assert enclose(linear, rows, Interval(np.array([-1.0, 0.0]), np.array([1.0, 2.0]))).zeros().tolist() == [True, False, False]
    assert enclose(linear, rows, point(np.zeros(2))).zeros().all()


@pytest.mark.parametrize(("operation", "shape"), MEANS)
def test_means_are_means(operation, shape):
    x = np.random.default_rng(4).normal(size=shape)
    step = step_of(operation, shape, {})
    found = enclose(*mean_map(step), point(x), roundings=1).reshape(*step.shape)
    exact = truth(operation, {}, x)
    assert covers(found, exact)
    assert np.abs((found.high - found.low) / 2).max() <= 8 * (x.size + 8) * UNIT_ROUNDOFF * np.abs(x).max()


def test_batch_norm_is_enclosed():
    rng = np.random.default_rng(5)
    tensors = {name: rng.normal(size=6) for name in ("w", "b", "m")}
    tensors["v"] = np.array([0.0, 1e-320, 1.0, 7.3, 1e300, 3.0])
    norm = BatchNorm("m", "v", 1e-7, "w", "b")
    scale, shift = channel_line(step_of(norm, (6, 2), tensors), Pair(tensors, tensors))
    assert scale.low.shape == shift.high.shape == (6, 1)
    for channel in range(6):
        weight, mean, bias = (Fraction(tensors[name][channel]) for name in ("w", "m", "b"))
        square = weight**2 / (Fraction(tensors["v"][channel]) + Fraction(norm.epsilon))
        ends = sorted(abs(Fraction(end[channel, 0])) for end in (scale.low, scale.high))
        assert ends[0] ** 2 <= square <= ends[1] ** 2
        assert np.sign(scale.low[channel, 0]) == np.sign(scale.high[channel, 0]) == np.sign(tensors["w"][channel])
        for end in (scale.low, scale.high):  # for whichever scale is the true one, the shift is there
            assert (
                Fraction(shift.low[channel, 0]) <= bias - mean * Fraction(end[channel, 0]) <= Fraction(shift.high[channel, 0])
            )


def test_a_variance_beyond_doubles_is_no_factor_of_zero():
    tensors = {"m": np.zeros(1), "v": np.array([1.7e308])}
    with np.errstate(over="ignore"):
        scale, _ = channel_line(step_of(BatchNorm("m", "v", 1.7e308), (1,), tensors), Pair(tensors, tensors))
    assert not scale.is_bounded()


def test_affine_has_what_it_is_given():
    step = step_of(Affine((2.0, -1.0)), (2, 3), {})
    scale, shift = channel_line(step, Pair({}, {}))
    assert scale.low.ravel().tolist() == scale.high.ravel().tolist() == [2.0, -1.0]
    assert shift.zeros().all()


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e300, SMALLEST])
def test_norms_are_never_below_the_truth(scale):
    values = np.array([3.0, 4.0, 0.0, 1e-12]) * scale
    found = Fraction(l2_norm(values))
    square = sum(Fraction(value) ** 2 for value in values)
    assert square <= found**2 <= square * (1 + Fraction(1, 2**40)) + Fraction(SMALLEST) * found * 8


def test_the_norm_of_nothing_is_zero():
    assert l2_norm(np.zeros((2, 2))) == 0


def wild_intervals(rng):
    return Interval(*np.sort(rng.normal(size=(2, 200)) * 10.0 ** rng.integers(-320, 3, (2, 200)), axis=0))


def test_sums_and_products_are_pushed_outward():
    rng = np.random.default_rng(6)
    one, other = wild_intervals(rng), wild_intervals(rng)
    for found, function in ((one + other, Fraction.__add__), (one - other, Fraction.__sub__), (one * other, Fraction.__mul__)):
        for first, second in itertools.product((one.low, one.high), (other.low, other.high)):
            values = [function(Fraction(a), Fraction(b)) for a, b in zip(first, second, strict=True)]
            assert covers(found, np.array(values))
