"""The rule of a request, and the population that it counts."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from ellq.v1 import compression_pb2 as pb
from ellq_math.grades import Grade
from ellq_math.rules import (
    ErrorBudget,
    Fraction,
    InvalidParameter,
    Lasso,
    LqBound,
    NOfM,
    PoolRule,
    PqIndex,
    Rule,
    SparsityIndex,
    Tail,
)
from ellq_server.refusals import InvalidRequest

PARAMETER_REASON = {
    "q": "INVALID_Q",
    "pq_q": "INVALID_Q",
    "p": "INVALID_P",
    "pq_p": "INVALID_P",
    "n": "INVALID_GROUP",
    "m": "INVALID_GROUP",
    "eta": "INVALID_ETA",
    "gamma": "INVALID_GAMMA",
    "beta": "INVALID_BETA",
    "epsilon": "INVALID_EPSILON",
    "pruned_ratio": "INVALID_RATIO",
    "max_error": "INVALID_BUDGET",
    "target": "INVALID_BUDGET",
    "grade": "INVALID_ENUM",
}
"""Which ErrorReason goes with which parameter of a rule."""


class Scope(Enum):
    """The population that a rule counts."""

    NEURON = pb.SCOPE_NEURON
    LAYER = pb.SCOPE_LAYER
    GLOBAL = pb.SCOPE_GLOBAL


@dataclass(frozen=True)
class ScopedRule:
    """A rule and its population."""

    rule: Rule
    scope: Scope

    @property
    def pool_rule(self) -> PoolRule:
        """The rule of a scope that LASSO cannot have: layer or global."""
        assert not isinstance(self.rule, Lasso)
        return self.rule


ONLY_SCOPE = {NOfM: Scope.NEURON, Lasso: Scope.NEURON, ErrorBudget: Scope.GLOBAL}
"""Rules that count one population only."""


def rule_from_wire(wire: pb.Rule, field: str) -> ScopedRule:
    """Return the rule that stood in this field. Errors: InvalidRequest with the field path."""
    kind = wire.WhichOneof("kind")
    if kind is None:
        known = ", ".join(name.name for name in pb.Rule.DESCRIPTOR.oneofs_by_name["kind"].fields)
        raise InvalidRequest(f"{field} has no kind, or an unknown one; known are {known}", reason="INVALID_RULE", field=field)
    try:
        scope = Scope(wire.scope)
    except ValueError as error:
        message = f"{field}.scope is {wire.scope}; allowed are SCOPE_NEURON, SCOPE_LAYER and SCOPE_GLOBAL"
        raise InvalidRequest(message, reason="INVALID_SCOPE", field=f"{field}.scope") from error
    with parameters_of(f"{field}.{kind}"):
        rule = _rule_of_kind(wire, kind, f"{field}.{kind}")
    only = ONLY_SCOPE.get(type(rule), scope)
    if scope is not only:
        message = f"{field}.scope is SCOPE_{scope.name}; {kind} takes SCOPE_{only.name} only"
        raise InvalidRequest(message, reason="INVALID_SCOPE", field=f"{field}.scope")
    return ScopedRule(rule, scope)


def _rule_of_kind(wire: pb.Rule, kind: str, field: str) -> Rule:
    match kind:
        case "sparsity_index":
            return SparsityIndex(q=wire.sparsity_index.q, eta=wire.sparsity_index.eta)
        case "pq_index":
            found = wire.pq_index
            return PqIndex(p=found.p, q=found.q, eta=found.eta, gamma=found.gamma, beta=found.beta)
        case "tail":
            return Tail(epsilon=wire.tail.epsilon, p=wire.tail.p)
        case "lq_bound":
            return LqBound(epsilon=wire.lq_bound.epsilon, q=wire.lq_bound.q, p=wire.lq_bound.p)
        case "fraction":
            return Fraction(pruned_ratio=wire.fraction.pruned_ratio)
        case "n_of_m":
            return NOfM(n=wire.n_of_m.n, m=wire.n_of_m.m)
        case "lasso":
            return Lasso(epsilon=wire.lasso.epsilon)
        case _:
            return _error_budget(wire.error_budget, field)


def _error_budget(wire: pb.ErrorBudgetRule, field: str) -> ErrorBudget:
    if wire.grade not in (pb.GRADE_BOX, pb.GRADE_MEAN_SQUARE):
        raise unknown_enum(f"{field}.grade", wire.grade, "GRADE_BOX and GRADE_MEAN_SQUARE")
    target = wire.WhichOneof("target")
    if target is None:
        message = f"{field} has no target; allowed are max_error and pruned_ratio"
        raise InvalidRequest(message, reason="INVALID_BUDGET", field=field)
    return ErrorBudget(
        max_error=wire.max_error if target == "max_error" else None,
        pruned_ratio=wire.pruned_ratio if target == "pruned_ratio" else None,
        grade=Grade.BOX if wire.grade == pb.GRADE_BOX else Grade.MEAN_SQUARE,
        measured=wire.measured,
    )


def unsketchable(rule: Rule) -> str | None:
    """Return what about an error budget no sketch carries, so that it is for payloads that are held; None: nothing."""
    if not isinstance(rule, ErrorBudget):
        return None
    if rule.grade is Grade.BOX:
        return "an error budget of GRADE_BOX"
    return "a measured error budget" if rule.measured and rule.max_error is not None else None


@contextmanager
def parameters_of(field: str) -> Iterator[None]:
    """Turn the math's refusal of a parameter into ours, which knows where the parameter stood."""
    try:
        yield
    except InvalidParameter as error:
        path = f"{field}.{error.parameter}"
        got = "NaN" if isinstance(error.got, float) and math.isnan(error.got) else error.got
        message = f"{path} is {got}; allowed is {error.allowed}"
        raise InvalidRequest(message, reason=PARAMETER_REASON[error.parameter], field=path) from error


def unknown_enum(field: str, got: int, allowed: str) -> InvalidRequest:
    """Return the refusal of an enum value."""
    return InvalidRequest(f"{field} is {got}; allowed: {allowed}", reason="INVALID_ENUM", field=field)
