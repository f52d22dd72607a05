import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_math.network.activations import lipschitz
from ellq_math.network.forms import change_in_form, root_norm, through_activation, through_scale, through_weights
from ellq_math.network.knowledge import Knowledge
from ellq_math.network.mean_square import certify_mean_square
from ellq_math.network.nodes import Input, Linear, Node, Topology
from ellq_math.network.topology import read_graph

from .moments import measured_moments
from .networks import ACTIVATIONS, Pair, evaluate, forward, pruned, shapes_of

seeds = st.integers(0, 2**32 - 1)
ROUNDING = 2.0**-40
"""Of the sizes involved: far above what the few hundred operations of the tests' own sums add up to."""


def random_form(rng, count):
    """Return a form of low or full rank, some of its rows zero, as those of pruned layers are."""
    half = rng.standard_normal((count, rng.integers(1, count + 1))) * np.exp(rng.standard_normal((count, 1)))
    half[rng.random(count) < 0.2] = 0
    return half @ half.T


def at(form, points):
    return np.einsum("ni,ij,nj->n", points, form, points)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@given(seed=seeds)
def test_a_form_before_an_activation_is_above_the_one_behind(activation, seed):
    rng = np.random.default_rng(seed)
    form = random_form(rng, 6)
    before = rng.standard_normal((2, 50, 6)) * 3
    behind = [evaluate(activation, [x], {}) for x in before]
    found = through_activation(form, activation, lipschitz(activation), np.diag(rng.random(6)))
    assert found is not None
    truth, bound = at(form, behind[1] - behind[0]), at(found, before[1] - before[0])
    assert (truth <= bound + ROUNDING * np.abs(form).max() * (np.abs(behind).max() + 1) ** 2).all()


@given(seeds)
def test_forms_before_layers_and_factors_are_above_the_ones_behind(seed):
    rng = np.random.default_rng(seed)
    form, weights, scale = random_form(rng, 5), rng.standard_normal((5, 7)), rng.standard_normal(5)
    x, y = rng.standard_normal((50, 7)), rng.standard_normal((50, 5))
    noise = ROUNDING * np.abs(form).max()
    assert (at(form, x @ weights.T) <= at(through_weights(form, weights), x) + noise * 1e3).all()
    assert (at(form, y * scale) <= at(through_scale(form, scale), y) + noise * 1e3).all()
    assert (at(form, y) <= (root_norm(form) * np.linalg.norm(y, axis=1)) ** 2 * (1 + ROUNDING)).all()


@pytest.mark.parametrize("matrices", [False, True])
@given(seed=seeds)
def test_a_change_in_a_form_is_never_below_the_truth(matrices, seed):
    rng = np.random.default_rng(seed)
    form, change, h = (
        random_form(rng, 4),
        rng.standard_normal((4, 6)),
        rng.standard_normal((9, 3)) @ rng.standard_normal((3, 6)),
    )
    second = h.T @ h / len(h)
    roots = np.sqrt(np.diagonal(second)) * (1 + ROUNDING)
    truth = np.sqrt(at(form, h @ change.T).clip(0).mean())
    found = change_in_form(form, change, second if matrices else None, roots, np.abs(change) @ roots * (1 + ROUNDING))
    assert truth <= found * (1 + ROUNDING)
    if matrices:  # exact, but for the slack: gamma times what is at most 2^20 here, under a root
        assert found**2 <= truth**2 + ROUNDING * np.linalg.norm(form) * ((np.abs(change) @ roots) ** 2).sum()


def deep_linear(rng):
    names = ["x", "a", "b", "c"]
    layers = [Node(name, (before,), Linear(name)) for before, name in itertools.pairwise(names)]
    tensors = {name: rng.standard_normal((6, 6)) for name in names[1:]}
    return Topology((Node("x", (), Input((6,))), *layers)), tensors


def test_a_change_of_the_first_of_three_linear_layers_is_exact():
    """All correlations pass: no norm is ever multiplied by another. Slack is 2^-45 of the magnitudes that add up to each entry.

    With a condition of less than 2^13 between those and the results, 2^-32 is left; a product of norms is above by a tenth.
    """
    rng = np.random.default_rng(1)
    topology, tensors = deep_linear(rng)
    changed = tensors | {"a": pruned(tensors, rng)["a"]}
    x = rng.standard_normal((40, 6))
    before, after = forward(topology, tensors, x), forward(topology, changed, x)
    truth = np.sqrt(((after["c"] - before["c"]) ** 2).mean(axis=0))
    graph = read_graph(topology, shapes_of(tensors))
    knowledge = Knowledge(moments=measured_moments(graph, before, tensors, matrices=True))
    certificate = certify_mean_square(graph, Pair(tensors, changed), knowledge).certificate
    assert certificate.output_error_l2 == pytest.approx(np.linalg.norm(truth), rel=2.0**-32)
    assert certificate.output_errors == pytest.approx(truth, rel=2.0**-32)


def test_numbers_beyond_a_double_leave_the_forward_bounds():
    rng = np.random.default_rng(2)
    topology, tensors = deep_linear(rng)
    tensors["b"] = tensors["b"] * 1e200
    changed = tensors | {"a": pruned(tensors, rng)["a"]}
    graph = read_graph(topology, shapes_of(tensors))
    known = measured_moments(graph, {name: rng.standard_normal((9, 6)) for name in "xabc"}, tensors, matrices=True)
    certificate = certify_mean_square(graph, Pair(tensors, changed), Knowledge(moments=known)).certificate
    assert certificate.node == "c"
    assert np.isfinite(certificate.output_error_l2)
