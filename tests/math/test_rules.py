import math

import pytest

from ellq_math.grades import Grade
from ellq_math.rules import (
    ErrorBudget,
    Fraction,
    IndexOrders,
    InvalidParameter,
    Lasso,
    LqBound,
    NOfM,
    PqIndex,
    SparsityIndex,
    Tail,
    orders_for,
)

VALID = {
    SparsityIndex: {"q": 0.5, "eta": 0.0},
    PqIndex: {"p": 0.5, "q": 1.0, "eta": 0.0, "gamma": 1.0, "beta": 0.9},
    Tail: {"epsilon": 0.1, "p": 2},
    LqBound: {"epsilon": 0.1, "q": 0.5, "p": 1},
    Fraction: {"pruned_ratio": 0.5},
    NOfM: {"n": 2, "m": 4},
    ErrorBudget: {"max_error": 1.0, "pruned_ratio": None, "grade": Grade.BOX, "measured": False},
    Lasso: {"epsilon": 0.1},
    IndexOrders: {"q": 0.5, "pq_p": 0.5, "pq_q": 1.0},
}
BELOW_ONE = math.nextafter(1, 0)
LEAST = math.ulp(0)

ALLOWED = [
    (SparsityIndex, "q", [0.05, BELOW_ONE]),
    (SparsityIndex, "eta", [0.0, 1e308]),
    (PqIndex, "p", [0.05, math.nextafter(1, 0)]),
    (PqIndex, "q", [math.nextafter(0.5, 1), 2.0]),
    (PqIndex, "gamma", [LEAST, 1e308]),
    (PqIndex, "beta", [LEAST, 1.0]),
    (Tail, "epsilon", [LEAST, BELOW_ONE]),
    (Tail, "p", [1, 2]),
    (LqBound, "q", [0.05, BELOW_ONE]),
    (Fraction, "pruned_ratio", [LEAST, BELOW_ONE]),
    (NOfM, "n", [1, 3]),
    (ErrorBudget, "max_error", [LEAST, 1.7e308]),
    (ErrorBudget, "grade", [Grade.BOX, Grade.MEAN_SQUARE]),
    (Lasso, "epsilon", [LEAST, BELOW_ONE]),
    (NOfM, "m", [3, 1024]),
    (IndexOrders, "q", [0.05, BELOW_ONE]),
    (IndexOrders, "pq_p", [0.05, BELOW_ONE]),
    (IndexOrders, "pq_q", [math.nextafter(0.5, 1), 2.0]),
]
REFUSED = [
    (SparsityIndex, "q", [math.nextafter(0.05, 0), 1.0, 0.0, -0.5, math.nan, math.inf]),
    (SparsityIndex, "eta", [-LEAST, math.inf, math.nan]),
    (PqIndex, "p", [math.nextafter(0.05, 0), 2.0, math.nan]),
    (PqIndex, "q", [0.5, math.nextafter(2, 3), math.nan, math.inf]),
    (PqIndex, "eta", [-1.0, math.inf, math.nan]),
    (PqIndex, "gamma", [0.0, -1.0, math.inf, math.nan]),
    (PqIndex, "beta", [0.0, math.nextafter(1, 2), math.nan]),
    (Tail, "epsilon", [0.0, 1.0, math.nan]),
    (Tail, "p", [0, 3, 1.5, math.nan]),
    (LqBound, "epsilon", [0.0, 1.0, math.nan]),
    (LqBound, "q", [0.0, 1.0, math.nan]),
    (LqBound, "p", [0, 3]),
    (Fraction, "pruned_ratio", [0.0, 1.0, math.nan]),
    (NOfM, "n", [0, 4, 5]),
    (ErrorBudget, "max_error", [0.0, -1.0, math.nan, math.inf]),
    (Lasso, "epsilon", [0.0, 1.0, math.nan]),
    (NOfM, "m", [1, 1025]),
    (IndexOrders, "q", [0.0, 1.0, math.nan]),
    (IndexOrders, "pq_p", [0.0, 2.0, math.nan]),
    (IndexOrders, "pq_q", [0.5, 2.1, math.nan]),
]


@pytest.mark.parametrize(("kind", "parameter", "values"), ALLOWED)
def test_the_ends_of_a_range_are_allowed(kind, parameter, values):
    for value in values:
        assert getattr(kind(**VALID[kind] | {parameter: value}), parameter) == value


@pytest.mark.parametrize(("kind", "parameter", "values"), REFUSED)
def test_what_lies_outside_is_refused_by_name(kind, parameter, values):
    for value in values:
        with pytest.raises(InvalidParameter) as refusal:
            kind(**VALID[kind] | {parameter: value})
        assert refusal.value.parameter == parameter
        assert refusal.value.got is value
        assert all(part in str(refusal.value) for part in (parameter, refusal.value.allowed, repr(value)))


@pytest.mark.parametrize("pruned_ratio", [0.0, 1.0, math.nan])
def test_an_error_budget_of_a_share_has_the_range_of_a_share(pruned_ratio):
    with pytest.raises(InvalidParameter, match=r"pruned_ratio must be in \(0, 1\)"):
        ErrorBudget(max_error=None, pruned_ratio=pruned_ratio, grade=Grade.BOX, measured=False)


@pytest.mark.parametrize(("max_error", "pruned_ratio"), [(None, None), (1.0, 0.5)])
def test_an_error_budget_has_exactly_one_target(max_error, pruned_ratio):
    with pytest.raises(InvalidParameter, match="exactly one of max_error and pruned_ratio") as refusal:
        ErrorBudget(max_error=max_error, pruned_ratio=pruned_ratio, grade=Grade.BOX, measured=False)
    assert refusal.value.parameter == "target"


def test_no_error_budget_is_for_the_ball():
    with pytest.raises(InvalidParameter, match="grade must be box or mean_square, got 'ball'"):
        ErrorBudget(max_error=1.0, pruned_ratio=None, grade=Grade.BALL, measured=False)


@pytest.mark.parametrize(
    ("kind", "orders"),
    [
        (SparsityIndex, (0.5, 1.0)),
        (PqIndex, (0.5, 1.0)),
        (LqBound, (0.5, 1.0)),
        *((kind, ()) for kind in (Tail, Fraction, NOfM, ErrorBudget, Lasso)),
    ],
)
def test_orders_are_those_of_the_norms_in_the_rule(kind, orders):
    assert orders_for(kind(**VALID[kind])) == orders


def test_index_orders_are_ascending_and_distinct():
    assert IndexOrders(q=0.5, pq_p=0.5, pq_q=1.0).orders == (0.5, 1.0, 2.0)
    assert IndexOrders(q=0.9, pq_p=1.5, pq_q=1.75).orders == (0.9, 1.0, 1.5, 1.75, 2.0)


def test_one_of_two_is_the_smallest_pattern():
    assert (NOfM(n=1, m=2).n, NOfM(n=1, m=2).m) == (1, 2)
