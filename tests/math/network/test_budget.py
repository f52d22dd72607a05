import math
from fractions import Fraction
from itertools import accumulate, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.math.network.networks import Pair, shapes_of

from ellq_math.allocation import pool_target
from ellq_math.grades import Grade
from ellq_math.network.budget import CostScales, KnowledgeRequired, cost_scales, has_room, spent_cost
from ellq_math.network.knowledge import Box, Knowledge, Moments
from ellq_math.network.nodes import Activation, ActivationKind, Conv, Input, Linear, Node, Topology
from ellq_math.network.sensitivities import Unreachable
from ellq_math.network.topology import read_graph
from ellq_math.network.weighing import KEY_MANTISSA_BITS, weigh
from ellq_math.pools import count_digits, search
from ellq_math.rules import ErrorBudget
from ellq_math.values import RowStatistics

TOPOLOGY = Topology(
    (
        Node("in", (), Input((2,))),
        Node("first", ("in",), Linear("w0", "b0")),
        Node("relu", ("first",), Activation(ActivationKind.RELU)),
        Node("second", ("relu",), Linear("w1")),
    )
)


def small_network(seed):
    """Return the tensors of TOPOLOGY, twelve weights in F32 with zeros and ties among them."""
    rng = np.random.default_rng(seed)
    weights = rng.laplace(size=12).astype(np.float32).astype(np.float64)
    weights[rng.integers(12, size=2)] = 0.0
    weights[rng.integers(12)] = weights[rng.integers(12)]
    return {"w0": weights[:6].reshape(3, 2), "b0": rng.normal(size=3), "w1": weights[6:].reshape(2, 3)}


def knowledge_of(tensors):
    rng = np.random.default_rng(0)
    moments = {name: Moments(name, rng.uniform(0.1, 2, tensors[name].shape[1])) for name in ("w0", "w1")}
    return Knowledge(box=Box(np.array([-1.0, 0.0]), np.array([0.5, 3.0])), moments=moments)


def keys_of(tensors, grade):
    """Return the cost of every weight of TOPOLOGY, in offset order."""
    graph = read_graph(TOPOLOGY, shapes_of(tensors))
    scales = cost_scales(graph, Pair(tensors, tensors), knowledge_of(tensors), grade=grade, names={"w0", "w1"})
    return np.concatenate(
        [weigh(np.abs(tensors[name]), scales[name].rows, scales[name].columns).ravel() for name in ("w0", "w1")]
    )


def budget(max_error=None, pruned_ratio=None, grade=Grade.BOX):
    return ErrorBudget(max_error=max_error, pruned_ratio=pruned_ratio, grade=grade, measured=False)


def threshold_of(keys, rule):
    stats = RowStatistics(
        (), np.zeros((1, 0)), np.zeros(1, np.int64), keys.max(keepdims=True), np.zeros(1, np.int64), len(keys)
    )
    target = pool_target(rule, stats, ignore_zeros=False)
    count = lambda at: count_digits(keys, target.units, level=at.level, prefix=at.prefix)  # noqa: E731
    return search(count, target, mantissa_bits=KEY_MANTISSA_BITS)


def cut_of(keys, rule):
    """Return the keys that the rule cuts: those below the threshold, and of those that equal it all but the first."""
    found = threshold_of(keys, rule)
    ties = np.flatnonzero(keys == found.magnitude)[found.ties_kept :]
    cut = (keys < found.magnitude) | np.isin(np.arange(len(keys)), ties)
    assert cut.sum() == len(keys) - found.kept
    return np.where(cut, keys, 0.0), int(cut.sum())


@pytest.mark.parametrize("grade", [Grade.BOX, Grade.MEAN_SQUARE])
@pytest.mark.parametrize("seed", range(6))
def test_no_pruning_within_the_budget_cuts_more_weights(seed, grade):
    keys = keys_of(small_network(seed), grade)
    exact = [Fraction(key) for key in keys.tolist()]
    prunings = [
        (sum(cut), sum(key for key, gone in zip(exact, cut, strict=True) if gone)) for cut in product((0, 1), repeat=12)
    ]
    rng = np.random.default_rng(seed)
    for max_error in (*rng.uniform(0, float(sum(exact)), 5).tolist(), float(prunings[1 << 7][1] or 1)):
        most = max(count for count, cost in prunings if cost <= Fraction(max_error))
        assert cut_of(keys, budget(max_error, grade=grade))[1] == most


costs = st.lists(st.one_of(st.sampled_from([0.0, 1.0, 1.5]), st.floats(2.0**-126, 2.0**100, width=32)), min_size=1, max_size=40)


@given(costs, st.floats(2.0**-20, 2.0**20), st.floats(1, 8))
def test_a_larger_budget_cuts_no_fewer_and_what_is_spent_is_told_and_covered(costs, max_error, factor):
    keys = np.array(costs)
    cut, count = cut_of(keys, budget(max_error))
    spent = spent_cost([cut[:1], cut[1:]], weights=len(keys))
    assert sum(map(Fraction, cut.tolist())) <= spent <= max_error
    assert count <= cut_of(keys, budget(max_error * factor))[1]


def test_ties_are_paid_for_one_by_one_and_zeros_cost_nothing():
    keys = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    assert [cut_of(keys, budget(max_error))[1] for max_error in (math.ulp(0), 0.999, 1.0, 2.5, 3.0, 1e308)] == [
        2,
        2,
        3,
        4,
        5,
        5,
    ]
    np.testing.assert_array_equal(cut_of(keys, budget(1.0))[0] > 0, [False, False, False, True, False])  # lower indices stay


@pytest.mark.parametrize("seed", range(6))
def test_magnitudes_within_the_same_budget_never_cut_more(seed):
    tensors = small_network(seed)
    keys = keys_of(tensors, Grade.BOX)
    magnitudes = np.abs(np.concatenate([tensors["w0"].ravel(), tensors["w1"].ravel()]))
    running = list(accumulate(map(Fraction, keys[np.argsort(magnitudes, kind="stable")].tolist())))
    for max_error in np.random.default_rng(seed).uniform(0, float(running[-1]), 10).tolist():
        assert sum(cost <= max_error for cost in running) <= cut_of(keys, budget(max_error))[1]


def test_a_share_is_cut_at_the_least_cost():
    keys = keys_of(small_network(1), Grade.BOX)
    cut, count = cut_of(keys, budget(pruned_ratio=0.7))
    assert count == 8
    assert cut.sum() == np.sort(keys)[:8].sum()


def test_costs_are_of_the_named_tensors_alone():
    tensors = small_network(1)
    graph = read_graph(TOPOLOGY, shapes_of(tensors))
    known = Knowledge(moments={"w1": knowledge_of(tensors).moments["w1"]})
    found = cost_scales(graph, Pair(tensors, tensors), known, grade=Grade.MEAN_SQUARE, names={"w1", "elsewhere"})
    assert list(found) == ["w1"]
    assert (found["w1"].rows.shape, found["w1"].columns.shape) == ((2,), (1, 3))


def test_inputs_of_a_mean_square_count_by_their_roots():
    tensors = small_network(1)
    graph, known = read_graph(TOPOLOGY, shapes_of(tensors)), knowledge_of(tensors)
    found = cost_scales(graph, Pair(tensors, tensors), known, grade=Grade.MEAN_SQUARE, names={"w0"})["w0"].columns
    assert all(Fraction(root) ** 2 >= square for root, square in zip(found[0], known.moments["w0"].second_moments, strict=True))
    np.testing.assert_allclose(found[0], np.sqrt(known.moments["w0"].second_moments), rtol=2.0**-50)


def test_a_convolution_with_groups_has_columns_for_each():
    nodes = (Node("in", (), Input((4, 5))), Node("conv", ("in",), Conv("k", groups=2)))
    tensors = {"k": np.ones((6, 2, 3))}
    box = Box(np.zeros(1), np.repeat([1.0, 2.0, 3.0, 4.0], 5))
    graph = read_graph(Topology(nodes), shapes_of(tensors))
    found = cost_scales(graph, Pair(tensors, tensors), Knowledge(box=box), grade=Grade.BOX, names={"k"})["k"]
    np.testing.assert_array_equal(found.columns, [[1, 1, 1, 2, 2, 2], [3, 3, 3, 4, 4, 4]])
    assert found.rows.shape == (6,)


def test_what_is_not_known_is_asked_for():
    tensors = small_network(1)
    graph, pair = read_graph(TOPOLOGY, shapes_of(tensors)), Pair(tensors, tensors)
    with pytest.raises(KnowledgeRequired, match="box") as error:
        cost_scales(graph, pair, Knowledge(), grade=Grade.BOX, names={"w0"})
    assert error.value.tensor is None
    with pytest.raises(KnowledgeRequired, match="moments of tensor 'w0'") as error:
        cost_scales(graph, pair, Knowledge(), grade=Grade.MEAN_SQUARE, names={"w0", "w1"})
    assert error.value.tensor == "w0"


@pytest.mark.parametrize(("weight", "moment"), [(1e300, 1e16), (-1e300, 1e16), (1e200, 1e308)])
def test_costs_beyond_all_doubles_are_refused(weight, moment):
    tensors = {"w": np.array([[1.0, weight], [2.0, 1.0]])}
    graph = read_graph(Topology((Node("in", (), Input((2,))), Node("out", ("in",), Linear("w")))), shapes_of(tensors))
    known = Knowledge(moments={"w": Moments("w", np.full(2, moment))})
    with pytest.raises(Unreachable, match="costs of tensor 'w' at node 'out'"):
        cost_scales(graph, Pair(tensors, tensors), known, grade=Grade.MEAN_SQUARE, names={"w"})


@pytest.mark.parametrize(
    ("largest", "rows", "columns", "room"),
    [
        (2.0**300, [1.0, 2.0**300], [1.0, 2.0**397], True),  # frexp tells 301, 301 and 398
        (2.0**300, [1.0, 2.0**300], [1.0, 2.0**398], False),
        (2.0**600, [2.0**500], [2.0**-600], False),  # beyond after the first product, although not in the end
        (2.0**-600, [2.0**500], [2.0**500], True),
        (math.inf, [1.0], [1.0], False),
        (1.0, [1.0, math.inf], [0.0], False),
        (1.0, [1.0], [1.0, math.nan], False),
    ],
)
def test_keys_have_room_below_a_power_of_two_after_every_product(largest, rows, columns, room):
    assert has_room(largest, CostScales(np.array(rows), np.array([columns]))) is room


def test_costs_that_leave_the_range_are_told_at_the_node_they_are_of():
    """The second layer; the first has other tensors."""
    nodes = Node("in", (), Input((1,))), Node("first", ("in",), Linear("a")), Node("second", ("first",), Linear("b"))
    tensors = {"a": np.ones((1, 1)), "b": np.full((1, 1), 1e300)}
    graph = read_graph(Topology(nodes), shapes_of(tensors))
    known = Knowledge(moments={"b": Moments("b", np.full(1, 1e16))})
    with pytest.raises(Unreachable, match="costs of tensor 'b' at node 'second'"):
        cost_scales(graph, Pair(tensors, tensors), known, grade=Grade.MEAN_SQUARE, names={"b"})
