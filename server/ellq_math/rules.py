"""What a caller may ask for: the rules, the orders of the indices, and their ranges.

Ranges are those of the contract (compression.proto). A value that exists is valid: nothing downstream checks again.
"""

import math
from dataclasses import dataclass

from ellq_math.grades import Grade


class InvalidParameter(ValueError):
    """A parameter is outside its range.

    `parameter` is its field name, `allowed` the range as text, `got` the value that was refused.
    """

    def __init__(self, parameter: str, *, allowed: str, got: float | str) -> None:
        super().__init__(f"{parameter} must be {allowed}, got {got!r}")
        self.parameter = parameter
        self.allowed = allowed
        self.got = got


@dataclass(frozen=True, kw_only=True)
class IndexOrders:
    """Orders of the indices to report: SI_q and PQI_{pq_p, pq_q}."""

    q: float
    pq_p: float
    pq_q: float

    def __post_init__(self) -> None:
        _check_quasi_order(self.q)
        _check_pair("pq_p", self.pq_p, "pq_q", self.pq_q)

    @property
    def orders(self) -> tuple[float, ...]:
        """Orders of the power sums that all indices and norms of a report need, ascending and distinct."""
        return tuple(sorted({self.q, self.pq_p, self.pq_q, 1.0, 2.0}))


@dataclass(frozen=True, kw_only=True)
class SparsityIndex:
    """Keep the count that SI_q proves necessary. No guarantee of what is lost."""

    q: float
    eta: float

    def __post_init__(self) -> None:
        _check_quasi_order(self.q)
        _check_eta(self.eta)


@dataclass(frozen=True, kw_only=True)
class PqIndex:
    """Prune the share that the PQ Index leaves over. No guarantee of what is lost."""

    p: float
    q: float
    eta: float
    gamma: float
    beta: float

    def __post_init__(self) -> None:
        _check_pair("p", self.p, "q", self.q)
        _check_eta(self.eta)
        _check("gamma", self.gamma, holds=0 < self.gamma < math.inf, allowed="in (0, inf)")
        _check("beta", self.beta, holds=0 < self.beta <= 1, allowed="in (0, 1]")


@dataclass(frozen=True, kw_only=True)
class Tail:
    """Keep the smallest count whose exact l_p tail is at most epsilon times the norm. Guaranteed."""

    epsilon: float
    p: int

    def __post_init__(self) -> None:
        _check_epsilon(self.epsilon)
        _check_norm_order(self.p)


@dataclass(frozen=True, kw_only=True)
class LqBound:
    """Keep a count that Stechkin's inequality proves sufficient for the same as Tail. Guaranteed."""

    epsilon: float
    q: float
    p: int

    def __post_init__(self) -> None:
        _check_epsilon(self.epsilon)
        _check_quasi_order(self.q)
        _check_norm_order(self.p)


@dataclass(frozen=True, kw_only=True)
class Fraction:
    """Prune a fixed share. No guarantee of what is lost."""

    pruned_ratio: float

    def __post_init__(self) -> None:
        _check_share(self.pruned_ratio)


@dataclass(frozen=True, kw_only=True)
class NOfM:
    """Keep the n largest of every m consecutive weights of a neuron. No guarantee of what is lost."""

    n: int
    m: int

    def __post_init__(self) -> None:
        _check("m", self.m, holds=2 <= self.m <= 1024, allowed="in [2, 1024]")
        _check("n", self.n, holds=1 <= self.n < self.m, allowed=f"in [1, {self.m})")


@dataclass(frozen=True, kw_only=True)
class ErrorBudget:
    """Cut the weights that the outputs of a network feel least: as much as an error allows, or a share at the least cost.

    Guaranteed. Exactly one of max_error and pruned_ratio is given.
    """

    max_error: float | None
    """Largest error of any output, above 0 and finite, measured by the grade."""
    pruned_ratio: float | None
    """Share of the weights to cut, in (0, 1)."""
    grade: Grade
    """BOX or MEAN_SQUARE."""
    measured: bool
    """Spend max_error by the tightest certificate of trial cuts, not by the sum of costs. Of no effect on a share."""

    def __post_init__(self) -> None:
        given = sum(target is not None for target in (self.max_error, self.pruned_ratio))
        _check("target", given, holds=given == 1, allowed="exactly one of max_error and pruned_ratio")
        if self.max_error is not None:
            _check("max_error", self.max_error, holds=0 < self.max_error < math.inf, allowed="in (0, inf)")
        if self.pruned_ratio is not None:
            _check_share(self.pruned_ratio)
        if self.grade not in (Grade.BOX, Grade.MEAN_SQUARE):
            raise InvalidParameter("grade", allowed="box or mean_square", got=self.grade.value)


@dataclass(frozen=True, kw_only=True)
class Lasso:
    """Replace each neuron by a short one off its LASSO path that loses at most epsilon of its root mean square. Guaranteed."""

    epsilon: float

    def __post_init__(self) -> None:
        _check_epsilon(self.epsilon)


CountRule = SparsityIndex | PqIndex | LqBound | Fraction | NOfM
"""Rules that count from power sums alone, before any weight is looked at again."""

PoolRule = CountRule | Tail | ErrorBudget
"""Rules that cut a pool at one threshold."""

Rule = PoolRule | Lasso


def orders_for(rule: Rule) -> tuple[float, ...]:
    """Return the orders of the power sums that a rule needs, ascending and distinct."""
    match rule:
        case SparsityIndex():
            return (rule.q, 1.0)
        case PqIndex():
            return (rule.p, rule.q)
        case LqBound():
            return (rule.q, float(rule.p))
        case Tail() | Fraction() | NOfM() | ErrorBudget() | Lasso():
            return ()


def _check(parameter: str, got: float, *, holds: bool, allowed: str) -> None:
    """Refuse unless `holds`. Comparisons with NaN are false, so NaN is refused everywhere."""
    if not holds:
        raise InvalidParameter(parameter, allowed=allowed, got=got)


def _check_quasi_order(q: float) -> None:
    _check("q", q, holds=0.05 <= q < 1, allowed="in [0.05, 1)")


def _check_pair(lower: str, p: float, upper: str, q: float) -> None:
    _check(lower, p, holds=0.05 <= p < 2, allowed="in [0.05, 2)")
    _check(upper, q, holds=p < q <= 2, allowed=f"in ({p}, 2]")


def _check_norm_order(p: int) -> None:
    _check("p", p, holds=p in (1, 2), allowed="1 or 2")


def _check_eta(eta: float) -> None:
    _check("eta", eta, holds=0 <= eta < math.inf, allowed="in [0, inf)")


def _check_share(pruned_ratio: float) -> None:
    _check("pruned_ratio", pruned_ratio, holds=0 < pruned_ratio < 1, allowed="in (0, 1)")


def _check_epsilon(epsilon: float) -> None:
    _check("epsilon", epsilon, holds=0 < epsilon < 1, allowed="in (0, 1)")
