"""Certificates of networks whose layers' scales are as far apart as doubles go, held against the truth in fractions."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_math.grades import Grade
from ellq_math.network.certify import certify_grade
from ellq_math.network.knowledge import Knowledge, Moments
from ellq_math.network.l2_bounds import mixed_sums
from ellq_math.network.nodes import Activation, ActivationKind, Affine, Input, Linear, Node, Topology
from ellq_math.network.quadratic import quadratic_roots
from ellq_math.network.topology import read_graph

from .by_definition import exactly, forward
from .networks import ACTIVATIONS, Pair, shapes_of

seeds = st.integers(0, 2**32 - 1)
EXPONENTS = (0, 0, 34, -34, 300, -300, 600, -600, 1000, -1000, -1074)
"""Of the scales of layers, factors and inputs; at the last, weights of a few units are denormal."""

EXACT = tuple(one for one in ACTIVATIONS if one.kind.value in ("identity", "relu", "leaky_relu", "clip"))
"""Activations that keep fractions beyond a double."""

GRADES = (Grade.BALL, Grade.MEAN_SQUARE)


def chain(*operations):
    """Return the topology of operations one after another, nodes n0, n1, ..."""
    names = [f"n{k}" for k in range(len(operations))]
    inputs = [(), *((name,) for name in names)]
    return Topology(tuple(Node(*parts) for parts in zip(names, inputs[:-1], operations, strict=True)))


def scaled(rng, *shape):
    """Return whole numbers times a power of two; sometimes a row is zero, or far smaller or larger than the others."""
    whole = rng.integers(-4, 5, shape)
    exponents = np.full(shape, rng.choice(EXPONENTS))
    if rng.random() < 0.3:
        exponents[rng.integers(shape[0])] = rng.choice(EXPONENTS)
    if rng.random() < 0.2:
        whole[rng.integers(shape[0])] = 0
    return np.ldexp(whole.astype(float), exponents)


def random_chain(rng):
    """Return a topology of one to four layers, its tensors, and those after some of the weights were cut or moved."""
    width = int(rng.integers(1, 4))
    operations, before = [Input((width,))], {}
    for layer in range(rng.integers(1, 5)):
        width, entering = int(rng.integers(1, 4)), width
        bias = f"b{layer}" if rng.random() < 0.2 else None
        before[f"w{layer}"] = scaled(rng, width, entering)
        before |= {bias: scaled(rng, width)} if bias else {}
        operations.append(Linear(f"w{layer}", bias))
        if rng.random() < 0.4:
            operations.append(EXACT[rng.integers(len(EXACT))])
        if rng.random() < 0.3:
            operations.append(Affine(tuple(scaled(rng, width).tolist())))
    after = dict(before)
    for name in rng.permutation([name for name in before if name[0] == "w"])[: rng.integers(1, 3)]:
        kept = rng.choice([0.0, 0.5, 1.0, -1.0], before[name].shape)
        after[name] = before[name] * kept
    return chain(*operations), before, after


def raised(fraction):
    """Return the least double that is not below."""
    try:
        found = float(fraction)
    except OverflowError:
        return math.inf
    return found if Fraction(found) >= fraction else math.nextafter(found, math.inf)


def exact_moments(graph, values, *, matrices):
    """Return the moments that a double can hold of all layers; matrices only where all their entries are exact."""
    found = {}
    for step in graph.layers:
        entering, name = values[step.node.inputs[0]], step.node.operation.weight
        means = entering.T @ entering / Fraction(len(entering))
        second = np.array([raised(mean) for mean in np.diagonal(means)])
        if not np.isfinite(second).all():
            continue
        matrix = np.array(means, dtype=float) if matrices else None
        exact = matrix is not None and (exactly(matrix) == means).all()
        found[name] = Moments(name, second, matrix[np.newaxis] if exact else None)
    return found


def assert_above_the_truth(grade, topology, before, after, inputs, *, matrices=False):
    """Certify a change on the inputs, (samples, values), and compare with what exact arithmetic makes of it."""
    samples = exactly(inputs)
    values = forward(topology, {name: exactly(tensor) for name, tensor in before.items()}, samples)
    changed = forward(topology, {name: exactly(tensor) for name, tensor in after.items()}, samples)
    graph = read_graph(topology, shapes_of(before))
    radius = max(raised(max(abs(samples).sum(axis=1))), 5e-324)
    known = {
        Grade.BALL: Knowledge(l2_radius=radius if math.isfinite(radius) else None),
        Grade.MEAN_SQUARE: Knowledge(moments=exact_moments(graph, values, matrices=matrices)),
    }
    certificate = certify_grade(graph, Pair(before, after), known[grade], grade).certificate
    if certificate is None:
        return None
    squares = (changed[certificate.node] - values[certificate.node]) ** 2
    over_samples = (lambda x: x.sum(axis=0) / len(x)) if grade is Grade.MEAN_SQUARE else (lambda x: x.max(axis=0))
    for truth, bound in zip(over_samples(squares), certificate.output_errors, strict=True):
        assert not math.isfinite(bound) or truth <= Fraction(float(bound)) ** 2
    total = certificate.output_error_l2
    assert not math.isfinite(total) or over_samples(squares.sum(axis=1)) <= Fraction(total) ** 2
    return certificate


def test_own_errors_that_underflow_are_not_zero():
    before = {"a": np.full((2, 2), 2.0**-600), "b": np.eye(2) * 2.0**600}
    topology = chain(Input((2,)), Linear("a"), Linear("b"))
    assert_above_the_truth(Grade.MEAN_SQUARE, topology, before, before | {"a": np.zeros((2, 2))}, np.full((1, 2), 2.0**-530))


@pytest.mark.parametrize("matrices", [False, True])
@pytest.mark.parametrize("grade", GRADES)
@given(seed=seeds)
def test_no_scale_takes_a_certificate_below_the_truth(grade, matrices, seed):
    rng = np.random.default_rng(seed)
    topology, before, after = random_chain(rng)
    width = topology.nodes[0].operation.shape[0]
    inputs = np.ldexp(rng.integers(-3, 4, (2, width)).astype(float), rng.choice(EXPONENTS))
    assert_above_the_truth(grade, topology, before, after, inputs, matrices=matrices)


SQUARE = np.array([[1.0, 2], [3, 5]])


@pytest.mark.parametrize(("large", "small", "layers"), [(1e170, 1e-170, 1), (1e34, 1e-34, 5), (1e300, 1e-300, 1)])
def test_forms_that_underflow_are_not_zero(large, small, layers):
    """The form of the readouts was W' W = 0 in floating point, whatever came after."""
    names = [f"w{k}" for k in range(2 * layers)]
    before = {name: SQUARE * (large if k < layers else small) for k, name in enumerate(names)}
    after = before | {"w0": before["w0"] * np.array([[0, 1], [1, 1]])}
    topology = chain(Input((2,)), *map(Linear, names))
    found = assert_above_the_truth(Grade.MEAN_SQUARE, topology, before, after, np.ones((1, 2)))
    assert found.output_error_l2 > 0


def test_tiny_factors_do_not_make_forms_zero():
    before = {"w": SQUARE}
    after = {"w": SQUARE * np.array([[0, 1], [1, 1]])}
    topology = chain(Input((2,)), Linear("w"), Affine((1e-200,)), Affine((1e-200,)), Affine((1e300, 1e308)))
    found = assert_above_the_truth(Grade.MEAN_SQUARE, topology, before, after, np.ones((1, 2)))
    assert found.output_error_l2 > 0


@pytest.mark.parametrize("matrices", [False, True])
@pytest.mark.parametrize("exponent", [-518, 0, 400])
def test_a_form_across_scales_stays_exact(matrices, exponent):
    """C S C' underflowed before it met the large form. One input, so that the change in the form is the truth itself.

    At 2^-518, sums are raised to 2^-500 of the weights, and what rounding costs with them: below a thousandth.
    """
    before = {"a": np.full((2, 1), 2.0**-40), "b": np.array([[1.0, 1], [1, -1]]) * 2.0**500}
    after = before | {"a": np.array([[0.0], [2.0**-40]])}
    topology = chain(Input((1,)), Linear("a"), Linear("b"))
    inputs = np.full((1, 1), 2.0**exponent)
    found = assert_above_the_truth(Grade.MEAN_SQUARE, topology, before, after, inputs, matrices=matrices)
    assert found.output_errors == pytest.approx(np.full(2, 2.0 ** (exponent + 460)), rel=1e-3)


@pytest.mark.parametrize("grade", GRADES)
@pytest.mark.parametrize("relu", [False, True])
def test_lagrange_terms_that_underflow_are_not_zero(grade, relu):
    """A total of 2^-800 met gains of 2^-300: each Lagrange term was zero, and a layer of 2^900 followed."""
    before = {
        "w0": np.array([[0.0], [2.0**-300]]),
        "w1": np.array([[0.0, 2.0**-300]]),
        "w2": np.array([[2.0**900]]),
        "w3": np.array([[2.0**120]]),
    }
    after = before | {"w0": np.zeros((2, 1))}
    activations = [Activation(ActivationKind.RELU)] if relu else []
    layers = itertools.chain(*([Linear(name), *activations] for name in before))
    topology = chain(Input((1,)), *layers)
    found = assert_above_the_truth(grade, topology, before, after, np.full((1, 1), 2.0**-500))
    assert found.output_error_l2 > 0


@given(seed=seeds)
def test_mixed_sums_are_above_what_they_bound_at_any_scale(seed):
    rng = np.random.default_rng(seed)
    gains, parts = np.abs(scaled(rng, 3, 4)), np.abs(scaled(rng, 4))
    share = rng.random(4).round(3)
    x = exactly(parts) * exactly(share)
    total = raised(sum(x))  # at least the norm of x
    truth = exactly(gains) @ x
    for bound, least in zip(mixed_sums(gains, parts, total), truth, strict=True):
        assert not math.isfinite(bound) or Fraction(float(bound)) >= least


def test_roots_of_denormal_rows_are_rounded_once():
    """Scaled up in two steps, the root of 1.2 met the spacing of denormals on the way: 1.2 became 1."""
    rows, matrix = np.array([[5e-324, 5e-324]]), np.array([[1.0, -0.28], [-0.28, 1.0]]) * 2.0**1000
    truth = exactly(rows[0]) @ exactly(matrix) @ exactly(rows[0])
    found = quadratic_roots(rows, matrix, np.array([2.0**-572]))
    assert Fraction(float(found[0])) ** 2 >= truth
