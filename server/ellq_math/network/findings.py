"""What is found out about a network. Every number is an upper bound, rounded up; shares are lower bounds, rounded down."""

from dataclasses import dataclass
from enum import Enum

from ellq_math.grades import Grade
from ellq_math.sums import Array


class EndingReason(Enum):
    """Why a certificate ends, with the names of the contract."""

    UNBOUNDED = "unbounded"
    NONFINITE = "nonfinite"
    OVERFLOW = "overflow"
    NO_MOMENTS = "no_moments"


@dataclass(frozen=True)
class Ending:
    """Where a certificate ends."""

    node: str
    """The first node without a bound."""
    reason: EndingReason
    text: str
    """One sentence for a person."""


def ending_at_unbounded(node: str, what: str) -> Ending:
    """Return the ending at a step that no bound is known for; `what` may be empty."""
    return Ending(node, EndingReason.UNBOUNDED, f"no bound is known for {what or 'this step'}")


@dataclass(frozen=True)
class LayerEffect:
    """What one layer with weights does to its own values (before any activation)."""

    node: str
    tensor: str
    grade: Grade
    own_error_max: float
    """By its own cut alone, its inputs being those of the original network: largest of its values."""
    own_error_l2: float
    """The same, l_2 norm over its values."""
    error_max: float | None
    """With the errors of the layers before; None where the certificate ended before."""
    error_l2: float | None


@dataclass(frozen=True)
class GradeCertificate:
    """What one grade promises of one node."""

    grade: Grade
    node: str
    output_errors: Array
    """(values,) float64, row-major: how far each value moves."""
    output_error_max: float
    output_error_l2: float
    unchanged_share: float | None = None
    """At least this share of the samples keeps its class. None: no margins, or the node is not the output."""
    operator_norm_product: float | None = None
    """The l_2 error by the plain product of operator norms, for comparison. None: the grade has none."""


@dataclass(frozen=True)
class GradeFindings:
    """All that one grade says."""

    certificate: GradeCertificate | None
    """None when not even the first step has a bound."""
    layers: tuple[LayerEffect, ...]
    """In the order of the data flow."""
    endings: tuple[Ending, ...]
    """Empty when the certificate reaches the output."""
