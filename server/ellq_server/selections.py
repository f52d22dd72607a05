"""Which tensors a request is about, by globs over their names, and how they are laid out."""

from collections.abc import Sequence
from dataclasses import dataclass

from ellq.v1 import compression_pb2 as pb
from ellq_server.refusals import InvalidRequest, shorten
from ellq_server.scoped_rules import Scope, ScopedRule, rule_from_wire

MOST_GLOBS = 1000
LONGEST_GLOB = 1024


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


def selection_from_wire(wire: pb.Selection) -> Selection:
    """Return the checked selection. Errors: InvalidRequest with the field path."""
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
    rule = rule_from_wire(wire.rule, f"{field}.rule") if treatment == "rule" else None
    if rule is not None and rule.scope is Scope.GLOBAL:
        message = f"{field}.rule.scope is SCOPE_GLOBAL; an override takes SCOPE_NEURON or SCOPE_LAYER"
        raise InvalidRequest(message, reason="INVALID_SCOPE", field=f"{field}.rule.scope")
    return Override(_glob(wire.glob, f"{field}.glob"), treatment == "skip", rule, axis)


def _bad_glob(what: str, field: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {what}", reason="INVALID_GLOB", field=field)
