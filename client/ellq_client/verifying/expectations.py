"""What a request must do to each tensor, from the header alone: the contract's Selection, applied once more."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise

from ellq.v1.safetensors import COMPRESSIBLE_DTYPES, TABLE_NAMES
from ellq_client.errors import ReportError
from ellq_client.headers import StoredTensor
from ellq_client.requests import Override, Request
from ellq_client.rules import LqBound, PqIndex, Rule, SparsityIndex, parameters
from ellq_client.values import IndexOrders
from ellq_math import rules as math_rules
from ellq_math.grades import Grade


@dataclass(frozen=True)
class Expectation:
    """What must happen to one tensor, unless it holds NaN or infinity."""

    reason: str | None
    """Why it passes through; None: it is compressible."""
    neuron_axis: tuple[int, ...] = (0,)
    rule: Rule | None = None
    """The rule of an override; None: the request's."""


def expect_tensor(
    tensor: StoredTensor, request: Request, axis: tuple[int, ...] = (0,), *, meant: str | None = None
) -> Expectation:
    """Return what the request must do to a tensor; `axis` numbers its neurons where no override says so.

    `meant` is why it passes through whatever the request says; None: nothing of the kind.

    Errors: ReportError for axes that no server takes.
    """
    overrides = [override for override in request.overrides if matches(override.glob, tensor.name)]
    reason = meant or _reason(tensor, request, overrides)
    if reason is not None:
        return Expectation(reason)
    treatment = _treatment(overrides)
    axis = next((override.neuron_axis for override in reversed(overrides) if override.neuron_axis), axis)
    if not _fits(axis, dimensions=len(tensor.shape)):
        raise ReportError(f"report.request: neuron_axis {list(axis)} does not fit tensor {tensor.name!r}")
    return Expectation(None, axis, None if treatment is None else treatment.rule)


def expect_indices(request: Request) -> IndexOrders:
    """Return the orders of the indices with defaults filled in."""
    rule = request.rule
    own_q = rule.q if isinstance(rule, SparsityIndex | LqBound) else 0.5
    own_pq = (rule.p, rule.q) if isinstance(rule, PqIndex) else (0.5, 1.0)
    pq_p, pq_q = request.pq or own_pq
    return IndexOrders(q=request.q or own_q, pq_p=pq_p, pq_q=pq_q)


def matches(glob: str, name: str) -> bool:
    """Return whether a glob of the contract matches the whole name, case-sensitively."""
    return fnmatchcase(name, glob)


def math_rule(rule: Rule) -> math_rules.Rule:
    """Return the rule as the math knows it. Errors: ReportError for numbers out of range."""
    kinds: dict[str, type[math_rules.Rule]] = {
        "sparsity_index": math_rules.SparsityIndex,
        "pq_index": math_rules.PqIndex,
        "tail": math_rules.Tail,
        "lq_bound": math_rules.LqBound,
        "fraction": math_rules.Fraction,
        "n_of_m": math_rules.NOfM,
        "error_budget": math_rules.ErrorBudget,
        "lasso": math_rules.Lasso,
    }
    given = parameters(rule)
    try:
        if "grade" in given:
            given["grade"] = Grade(given["grade"])
        return kinds[rule.kind](**given)
    except ValueError as error:
        raise ReportError(f"report.request: a rule that no server takes: {error}") from error


def _reason(tensor: StoredTensor, request: Request, overrides: Sequence[Override]) -> str | None:
    treatment = _treatment(overrides)
    if tensor.dtype not in COMPRESSIBLE_DTYPES:
        return "dtype"
    if len(tensor.shape) < 2:
        return "dimensions"
    if not tensor.length_bytes:
        return "empty"
    if any(matches(glob, tensor.name) for glob in request.exclude):
        return "excluded"
    if treatment is not None and treatment.skip:
        return "skipped"
    included = any(matches(glob, tensor.name) for glob in request.include)
    return "name" if not included and any(matches(glob, tensor.name) for glob in TABLE_NAMES) else None


def _fits(axis: tuple[int, ...], *, dimensions: int) -> bool:
    ascending = all(before < after for before, after in pairwise(axis))
    return ascending and axis[0] >= 0 and axis[-1] < dimensions and len(axis) < dimensions


def _treatment(overrides: Sequence[Override]) -> Override | None:
    """Return the last override that says skip or names a rule."""
    return next((override for override in reversed(overrides) if override.skip or override.rule is not None), None)
