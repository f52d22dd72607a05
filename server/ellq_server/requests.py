"""The options frame, checked once and turned into values that the rest of the server can trust."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from ellq.v1 import compression_pb2 as pb
from ellq_math.rules import Fraction, IndexOrders, InvalidParameter, LqBound, NOfM, PqIndex, Rule, SparsityIndex, Tail
from ellq_server.refusals import InvalidRequest, shorten
from ellq_server.sketches import Sketch, invalid_sketch, sketch_from_wire, sketch_orders

MOST_GLOBS = 1000
LONGEST_GLOB = 1024

PARAMETER_REASON = {
    **dict.fromkeys(("q", "pq_q"), "INVALID_Q"),
    **dict.fromkeys(("p", "pq_p"), "INVALID_P"),
    **dict.fromkeys(("n", "m"), "INVALID_GROUP"),
    "eta": "INVALID_ETA",
    "gamma": "INVALID_GAMMA",
    "beta": "INVALID_BETA",
    "epsilon": "INVALID_EPSILON",
    "pruned_ratio": "INVALID_RATIO",
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


@dataclass(frozen=True)
class Override:
    """An exception by name."""

    glob: str
    skip: bool
    rule: ScopedRule | None
    neuron_axis: tuple[int, ...]


@dataclass(frozen=True)
class Selection:
    """Which tensors are compressible, and how they are laid out."""

    include: tuple[str, ...]
    exclude: tuple[str, ...]
    overrides: tuple[Override, ...]


@dataclass(frozen=True)
class Request:
    """What a call asks for."""

    selection: Selection
    indices: IndexOrders
    rule: ScopedRule | None
    pass_nonfinite: bool
    ignore_zeros: bool
    neuron_reports: bool
    distribution: bool
    sends_weights: bool
    """Compress, not Analyze."""
    builds_sketch: bool
    sketch: Sketch | None
    """The pass before (Analyze) or the final one (Compress)."""
    options_sha256: bytes
    """What a sketch is bound to."""


def read_analyze(options: pb.AnalyzeOptions) -> Request:
    """Return the checked options of Analyze. Errors: InvalidRequest with the field path."""
    builds_sketch = options.HasField("sketch")
    previous = options.sketch.previous if builds_sketch and options.sketch.HasField("previous") else None
    return _read(options, sketch=previous, sends_weights=False, distribution=options.distribution, builds_sketch=builds_sketch)


def read_compress(options: pb.CompressOptions) -> Request:
    """Return the checked options of Compress. Errors: InvalidRequest with the field path."""
    if not options.HasField("rule"):
        raise InvalidRequest("options.rule is missing: Compress needs a rule", reason="INVALID_RULE", field="options.rule")
    if options.encoding not in (pb.ENCODING_UNSPECIFIED, pb.ENCODING_DENSE):
        raise _unknown_enum("options.encoding", options.encoding, "ENCODING_DENSE")
    sketch = options.sketch if options.HasField("sketch") else None
    return _read(options, sketch=sketch, sends_weights=True, distribution=False, builds_sketch=False)


def _read(
    options: pb.AnalyzeOptions | pb.CompressOptions,
    *,
    sketch: pb.Sketch | None,
    sends_weights: bool,
    distribution: bool,
    builds_sketch: bool,
) -> Request:
    rule = _rule(options.rule, "options.rule") if options.HasField("rule") else None
    digest = _digest(options)
    if builds_sketch and (rule is None or rule.scope is not Scope.GLOBAL):
        raise _sketch_without_rule()
    indices = _indices(options.indices, rule)
    return Request(
        selection=_selection(options.selection),
        indices=indices,
        rule=rule,
        pass_nonfinite=_passes_nonfinite(options.nonfinite),
        ignore_zeros=options.ignore_zeros,
        neuron_reports=options.neuron_reports,
        distribution=distribution,
        sends_weights=sends_weights,
        builds_sketch=builds_sketch,
        sketch=_sketch(sketch, rule, indices, digest, must_be_final=sends_weights),
        options_sha256=digest,
    )


def _sketch(
    wire: pb.Sketch | None, rule: ScopedRule | None, indices: IndexOrders, digest: bytes, *, must_be_final: bool
) -> Sketch | None:
    if wire is None:
        return None
    if rule is None or rule.scope is not Scope.GLOBAL:
        raise _sketch_without_rule()
    return sketch_from_wire(wire, rule.rule, sketch_orders(indices, rule.rule), digest, must_be_final=must_be_final)


def _sketch_without_rule() -> InvalidRequest:
    return invalid_sketch("a sketch needs a rule of SCOPE_GLOBAL")


def _digest(options: pb.AnalyzeOptions | pb.CompressOptions) -> bytes:
    """Return the digest of the options that decide what is counted; the same for Analyze and Compress."""
    counted = pb.CompressOptions(
        selection=options.selection,
        indices=options.indices,
        rule=options.rule,
        nonfinite=options.nonfinite,
        ignore_zeros=options.ignore_zeros,
    )
    return hashlib.sha256(counted.SerializeToString(deterministic=True)).digest()


def _rule(wire: pb.Rule, field: str) -> ScopedRule:
    kind = wire.WhichOneof("kind")
    if kind is None:
        known = ", ".join(name.name for name in pb.Rule.DESCRIPTOR.oneofs_by_name["kind"].fields)
        raise InvalidRequest(f"{field} has no kind, or an unknown one; known are {known}", reason="INVALID_RULE", field=field)
    try:
        scope = Scope(wire.scope)
    except ValueError as error:
        message = f"{field}.scope is {wire.scope}; allowed are SCOPE_NEURON, SCOPE_LAYER and SCOPE_GLOBAL"
        raise InvalidRequest(message, reason="INVALID_SCOPE", field=f"{field}.scope") from error
    with _parameters_of(f"{field}.{kind}"):
        rule = _rule_of_kind(wire, kind)
    if isinstance(rule, NOfM) and scope is not Scope.NEURON:
        message = f"{field}.scope is SCOPE_{scope.name}; n_of_m counts within neurons and takes SCOPE_NEURON only"
        raise InvalidRequest(message, reason="INVALID_SCOPE", field=f"{field}.scope")
    return ScopedRule(rule, scope)


def _rule_of_kind(wire: pb.Rule, kind: str) -> Rule:
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
        case _:
            return NOfM(n=wire.n_of_m.n, m=wire.n_of_m.m)


def _indices(wire: pb.IndexOptions, scoped: ScopedRule | None) -> IndexOrders:
    """Fill in the defaults that the contract states."""
    rule = scoped.rule if scoped else None
    q = wire.q or (rule.q if isinstance(rule, SparsityIndex | LqBound) else 0.5)
    pq_p, pq_q = wire.pq_p, wire.pq_q
    if not pq_p and not pq_q:
        pq_p, pq_q = (rule.p, rule.q) if isinstance(rule, PqIndex) else (0.5, 1.0)
    with _parameters_of("options.indices"):
        return IndexOrders(q=q, pq_p=pq_p, pq_q=pq_q)


def _passes_nonfinite(policy: int) -> bool:
    if policy not in pb.NonfinitePolicy.values():
        raise _unknown_enum("options.nonfinite", policy, "NONFINITE_POLICY_REFUSE and NONFINITE_POLICY_PASS_THROUGH")
    return policy == pb.NONFINITE_POLICY_PASS_THROUGH


def _selection(wire: pb.Selection) -> Selection:
    field = "options.selection"
    if len(wire.overrides) > MOST_GLOBS:
        raise _bad_glob(f"{len(wire.overrides)} overrides; at most {MOST_GLOBS} are allowed", f"{field}.overrides")
    return Selection(
        include=_globs(wire.include, f"{field}.include"),
        exclude=_globs(wire.exclude, f"{field}.exclude"),
        overrides=tuple(_override(one, f"{field}.overrides[{index}]") for index, one in enumerate(wire.overrides)),
    )


def _globs(globs: Sequence[str], field: str) -> tuple[str, ...]:
    if len(globs) > MOST_GLOBS:
        raise _bad_glob(f"{len(globs)} globs; at most {MOST_GLOBS} are allowed", field)
    return tuple(_glob(glob, f"{field}[{index}]") for index, glob in enumerate(globs))


def _glob(glob: str, field: str) -> str:
    if not 1 <= len(glob) <= LONGEST_GLOB:
        raise _bad_glob(f"a glob of {len(glob)} characters; allowed are 1 to {LONGEST_GLOB}", field)
    return glob


def _override(wire: pb.TensorOverride, field: str) -> Override:
    treatment = wire.WhichOneof("treatment")
    axis = tuple(wire.neuron_axis)
    if treatment == "skip" and not wire.skip:
        raise InvalidRequest(
            f"{field}.skip is false; it must be true or absent", reason="INVALID_OVERRIDE", field=f"{field}.skip"
        )
    if treatment is None and not axis:
        raise InvalidRequest(f"{field} changes nothing: set skip, rule or neuron_axis", reason="INVALID_OVERRIDE", field=field)
    if axis != tuple(sorted(set(axis))):
        message = f"{field}.neuron_axis is {shorten(str(list(axis)))}; axes must be ascending and distinct"
        raise InvalidRequest(message, reason="INVALID_NEURON_AXIS", field=f"{field}.neuron_axis")
    rule = _rule(wire.rule, f"{field}.rule") if treatment == "rule" else None
    if rule is not None and rule.scope is Scope.GLOBAL:
        message = f"{field}.rule.scope is SCOPE_GLOBAL; an override takes SCOPE_NEURON or SCOPE_LAYER"
        raise InvalidRequest(message, reason="INVALID_SCOPE", field=f"{field}.rule.scope")
    return Override(_glob(wire.glob, f"{field}.glob"), treatment == "skip", rule, axis)


@contextmanager
def _parameters_of(field: str) -> Iterator[None]:
    """Turn the math's refusal of a parameter into ours, which knows where the parameter stood."""
    try:
        yield
    except InvalidParameter as error:
        path = f"{field}.{error.parameter}"
        got = "NaN" if isinstance(error.got, float) and math.isnan(error.got) else error.got
        message = f"{path} is {got}; allowed is {error.allowed}"
        raise InvalidRequest(message, reason=PARAMETER_REASON[error.parameter], field=path) from error


def _unknown_enum(field: str, got: int, allowed: str) -> InvalidRequest:
    return InvalidRequest(f"{field} is {got}; allowed: {allowed}", reason="INVALID_ENUM", field=field)


def _bad_glob(what: str, field: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {what}", reason="INVALID_GLOB", field=field)
