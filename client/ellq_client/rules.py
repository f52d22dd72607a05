"""How many weights to keep: the rules of the contract as plain values. The server checks the numbers.

    SparsityIndex, PqIndex    adapt to each row; a necessary count, NO guarantee
    Tail, LqBound             guaranteed: the cut costs at most epsilon of the norm
    Fraction, NOfM            fixed shares; NO guarantee

Whatever the rule, the certificate in every report states what the cut really cost.
"""

from dataclasses import dataclass, fields
from typing import ClassVar, TypeAlias

from ellq.v1 import compression_pb2 as pb
from ellq_client.errors import InvalidRule, ProtocolError
from ellq_client.mirror import enum_name, enum_word

_SCOPE = pb.DESCRIPTOR.enum_types_by_name["Scope"]


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


Rule: TypeAlias = SparsityIndex | PqIndex | Tail | LqBound | Fraction | NOfM

RULES: dict[str, type[Rule]] = {rule.kind: rule for rule in (SparsityIndex, PqIndex, Tail, LqBound, Fraction, NOfM)}
"""Every rule by its name on the wire."""


def parameters(rule: Rule) -> dict[str, float]:
    """Return the numbers of a rule by name, without its scope."""
    return {field.name: getattr(rule, field.name) for field in fields(rule) if field.name != "scope"}


def rule_to_proto(rule: Rule) -> pb.Rule:
    """Return the message of a rule. Errors: InvalidRule for a number that the message cannot hold."""
    if not isinstance(rule, Rule):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise InvalidRule(f"{rule!r} is no rule; rules are {', '.join(kind.__name__ for kind in RULES.values())}", field="rule")
    message = pb.Rule(scope=enum_name(_SCOPE, rule.scope))
    kind = getattr(message, rule.kind)
    kind.SetInParent()
    for name, value in parameters(rule).items():
        try:
            setattr(kind, name, value)
        except (TypeError, ValueError) as error:
            raise InvalidRule(f"{value!r} does not fit: {error}", field=f"rule.{rule.kind}.{name}") from error
    return message


def rule_from_proto(message: pb.Rule) -> Rule:
    """Return the rule of a message. Errors: ProtocolError for one that this version does not know."""
    kind = message.WhichOneof("kind")
    if kind not in RULES:
        raise ProtocolError("the server names a rule that this version does not know")
    rule = RULES[kind]
    numbers = {field.name: getattr(getattr(message, kind), field.name) for field in fields(rule) if field.name != "scope"}
    return rule(**numbers, scope=enum_word(_SCOPE, message.scope) or "unspecified")
