"""How many weights to keep: the rules of the contract as plain values. The server checks the numbers.

    SparsityIndex, PqIndex    adapt to each row; a necessary count, NO guarantee
    Tail, LqBound             guaranteed: the cut costs at most epsilon of the norm
    Fraction, NOfM            fixed shares; NO guarantee
    ErrorBudget               guaranteed: no output of the network moves by more than the budget (needs a network)
    Lasso                     guaranteed under the moments: each neuron's sum keeps all but epsilon (needs moments)

Whatever the rule, the certificate in every report states what the cut really cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeAlias, get_args

from ellq.v1 import compression_pb2 as pb
from ellq_client.errors import InvalidRule, ProtocolError
from ellq_client.mirror import enum_name, enum_word

_SCOPE = pb.DESCRIPTOR.enum_types_by_name["Scope"]
_GRADE = pb.DESCRIPTOR.enum_types_by_name["Grade"]


@dataclass(frozen=True, kw_only=True)
class SparsityIndex:
    """Keep as many weights as SI_q shows to be necessary. No guarantee."""

    kind: ClassVar[str] = "sparsity_index"
    q: float
    eta: float = 0.0
    scope: str = "neuron"


@dataclass(frozen=True, kw_only=True)
class PqIndex:
    """Prune the share that the PQ Index suggests. No guarantee. The last three defaults are the paper's."""

    kind: ClassVar[str] = "pq_index"
    p: float
    q: float
    eta: float = 0.0
    gamma: float = 1.0
    beta: float = 0.9
    scope: str = "neuron"


@dataclass(frozen=True, kw_only=True)
class Tail:
    """Keep the fewest weights whose exact tail is at most epsilon of the l_p norm, p = 1 or 2. Guaranteed."""

    kind: ClassVar[str] = "tail"
    epsilon: float
    p: int
    scope: str = "neuron"


@dataclass(frozen=True, kw_only=True)
class LqBound:
    """Keep a count that a theorem proves sufficient for a tail of epsilon. Guaranteed, and more than Tail keeps."""

    kind: ClassVar[str] = "lq_bound"
    epsilon: float
    q: float
    p: int
    scope: str = "neuron"


@dataclass(frozen=True, kw_only=True)
class Fraction:
    """Prune a fixed share of the weights. No guarantee."""

    kind: ClassVar[str] = "fraction"
    pruned_ratio: float
    scope: str = "neuron"


@dataclass(frozen=True, kw_only=True)
class NOfM:
    """Keep the n largest of every m consecutive weights. No guarantee. Neuron scope only."""

    kind: ClassVar[str] = "n_of_m"
    n: int
    m: int
    scope: str = "neuron"


@dataclass(frozen=True, kw_only=True)
class ErrorBudget:
    """Cut what the network's outputs feel least. Give exactly one of max_error and pruned_ratio.

    With `max_error` no output moves by more than it: guaranteed for every input in the box (grade "box") or as a root mean
    square over the distribution of the moments (grade "mean_square"). With `pruned_ratio` the share is fixed and NO error is
    promised beforehand. Needs a network that is bounded up to its output, and a box or moments. Global scope only.
    """

    kind: ClassVar[str] = "error_budget"
    max_error: float | None = None
    pruned_ratio: float | None = None
    grade: str = "mean_square"
    measured: bool = False
    """With max_error: spend by certificates measured on trial cuts, which cuts more for the same guarantee."""
    scope: str = "global"


@dataclass(frozen=True, kw_only=True)
class Lasso:
    """Choose and refit each neuron's weights by LASSO, losing at most epsilon of its sum, as a root mean square.

    Guaranteed under the moments, of which it needs matrices. Kept weights change their values. Neuron scope only.
    """

    kind: ClassVar[str] = "lasso"
    epsilon: float
    scope: str = "neuron"


Rule: TypeAlias = SparsityIndex | PqIndex | Tail | LqBound | Fraction | NOfM | ErrorBudget | Lasso

RULES: dict[str, type[Rule]] = {rule.kind: rule for rule in get_args(Rule)}
"""Every rule by its name on the wire."""


def parameters(rule: Rule) -> dict[str, Any]:
    """Return what a rule says by name, without its scope."""
    return {field.name: getattr(rule, field.name) for field in fields(rule) if field.name != "scope"}


def rule_to_proto(rule: Rule) -> pb.Rule:
    """Return the message of a rule. Errors: InvalidRule for a number that the message cannot hold."""
    if not isinstance(rule, Rule):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise InvalidRule(f"{rule!r} is no rule; rules are {', '.join(kind.__name__ for kind in RULES.values())}", field="rule")
    if isinstance(rule, ErrorBudget) and (rule.max_error is None) == (rule.pruned_ratio is None):
        given = "neither" if rule.max_error is None else "both"  # of a oneof the last one set would win without a word
        raise InvalidRule(
            f"it takes either max_error or pruned_ratio, got {given}", field="rule.error_budget", reason="INVALID_BUDGET"
        )
    message = pb.Rule(scope=enum_name(_SCOPE, rule.scope))
    kind = getattr(message, rule.kind)
    kind.SetInParent()
    for name, value in _on_the_wire(parameters(rule)).items():
        try:
            setattr(kind, name, value)
        except (TypeError, ValueError) as error:
            raise InvalidRule(f"{value!r} does not fit: {error}", field=f"rule.{rule.kind}.{name}") from error
    return message


def rule_from_proto(message: pb.Rule) -> Rule:
    """Return the rule of a message. Errors: ProtocolError for one that this version does not know."""
    name = message.WhichOneof("kind")
    if name not in RULES:
        raise ProtocolError("the server names a rule that this version does not know")
    kind, rule = getattr(message, name), RULES[name]
    given: dict[str, Any] = {}
    for field in fields(rule):
        if field.name in ("scope", "grade"):
            continue
        described = kind.DESCRIPTOR.fields_by_name[field.name]
        absent = described.has_presence and not kind.HasField(field.name)
        given[field.name] = None if absent else getattr(kind, field.name)
    if "grade" in kind.DESCRIPTOR.fields_by_name:
        given["grade"] = enum_word(_GRADE, kind.grade) or "unspecified"
    return rule(**given, scope=enum_word(_SCOPE, message.scope) or "unspecified")


def _on_the_wire(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a message takes: numbers of enums for words, nothing for what is absent."""
    present = {name: value for name, value in given.items() if value is not None}
    if "grade" in present:
        present["grade"] = _GRADE.values_by_name[enum_name(_GRADE, present["grade"])].number
    return present
