"""What is promised of a whole network: frozen mirrors of the contract's messages, and each promise as a sentence.

Every number is an upper bound, rounded up; shares are lower bounds. All of it speaks of exact arithmetic with the stored
weights, and of inputs that are what the request says they are.
"""

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

_COVERED = {
    "box": "For every input in the stated box",
    "ball": "For every input in the ball and in the box, as far as either is stated",
    "mean_square": "On average (root mean square) over the distribution of the moments, provided that the moments are those of "
    "this network",
}
_NOT_COVERED = {
    "box": "",
    "ball": "",
    "mean_square": " A single input can move it further, and inputs of another distribution are not covered.",
}
_SAMPLES = {
    "box": "If all samples whose margins were given lie in the box, at least {share} of them keep their class.",
    "ball": "If all samples whose margins were given are such inputs, at least {share} of them keep their class.",
    "mean_square": "Of the samples that margins and moments were measured on, at least {share} keep their class.",
}
_WHY = {
    "unbounded": "no bound is known for it",
    "nonfinite": "a tensor holds NaN or infinity",
    "overflow": "the bound leaves the range of a double",
    "no_moments": "the moments of a tensor are missing",
}
_BY_SKETCH = "This rests on sketches of earlier passes over the same weights."

_ABSENT = {
    "no_topology": "the request does not tell how its layers are connected.",
    "no_inputs": "the request tells nothing of the inputs: no box, no radius, no moments.",
    "too_large": "the payload is larger than this server holds at once.",
    "no_rule": "nothing was cut.",
    "unbounded": "no layer with weights has a bound.",
}
_SPEND_MORE = "Unless it was measured already, --measured (measured=True) spends more of it, at the cost of trial cuts."
_FIGURES = 4
_DIGITS = 6
"""Before the point, written out; numbers beyond get an exponent."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Where a certificate ends."""

    node: str
    """The first node without a bound."""
    reason: str
    """"unbounded", "nonfinite", "overflow" or "no_moments"."""
    text: str

    def told(self) -> str:
        """Return where and why, as a sentence."""
        return f"A certificate ends before {self.node!r}: {self.text or _WHY.get(self.reason, self.reason)}."


@dataclass(frozen=True, slots=True)
class GradeCertificate:
    """What one grade promises of the node that the certificate speaks of."""

    grade: str
    """"box", "ball" or "mean_square": see `told` for what each promises."""
    node: str
    output_error_max: float
    output_error_l2: float
    output_errors: tuple[float, ...] = field(repr=False)
    """Value by value; empty beyond 1000 values."""
    unchanged_share: float | None
    operator_norm_product: float | None
    """The l_2 error by the plain product of operator norms, for comparison."""

    def told(self, *, of: str = "output") -> str:
        """Return the promise as a sentence or two. `of` names whose values: an output, or values of a node."""
        sentence = f"{_COVERED.get(self.grade, self.grade)}, no {of} moves by more than {upper(self.output_error_max)}"
        sentence += f", and all of them together by no more than {upper(self.output_error_l2)} (l_2 norm)."
        if self.unchanged_share is not None:
            sentence += " " + _SAMPLES.get(self.grade, "").format(share=_share(self.unchanged_share))
        return sentence + _NOT_COVERED.get(self.grade, "")


@dataclass(frozen=True, slots=True)
class LayerEffect:
    """What the cut in one layer does to the layer's own values, before any activation."""

    node: str
    tensor: str
    grade: str
    own_error_max: float
    """By its own cut alone, its inputs being those of the original network."""
    own_error_l2: float
    error_max: float | None
    """With the errors of the layers before; None: the certificate ended before."""
    error_l2: float | None


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    """How an error budget was spent."""

    max_error: float | None
    """What was allowed; None: a share was asked for."""
    cost: float
    """Sum of the costs of what was cut: bounds the largest error of any output."""
    certified_error: float
    unused: float | None
    grade: str
    """The grade of the rule: what the errors are measured by."""

    def told(self) -> str:
        """Return what was allowed and what was spent, as a sentence."""
        covered = _COVERED.get(self.grade, self.grade)
        spent = f"{covered[0].lower()}{covered[1:]}, what was cut moves no output by more than {upper(self.certified_error)}"
        if self.max_error is None:
            return f"No error was asked for, only a share; {spent}."
        unused = "" if self.unused is None else f"; {lower(self.unused)} is unused"
        told = f"Of an error of {self.max_error:g}: {spent}{unused}."
        return f"{told} {_SPEND_MORE}" if (self.unused or 0) > self.max_error / 2 else told


@dataclass(frozen=True, slots=True)
class NetworkCertificate:
    """What can be said about the outputs of the whole network."""

    absence: str | None
    """Why nothing can be said, such as "no_topology"; None: there are grades."""
    node: str = ""
    """What the certificate speaks of: the output, or of the nodes with a bound the last of those that depend on most layers."""
    reaches_output: bool = False
    endings: tuple[Ending, ...] = ()
    grades: tuple[GradeCertificate, ...] = ()
    tightest: str | None = None
    """Of the grades that speak of `node` the one with the smallest error. Mind that grades promise different things."""
    layers: tuple[LayerEffect, ...] = field(default=(), repr=False)
    budget: BudgetSpent | None = None
    layers_left_out: int = 0
    """Entries of `layers` that did not fit the message."""

    def grade(self, name: str) -> GradeCertificate | None:
        """Return the certificate of a grade ("box", "ball", "mean_square"), None when there is none."""
        return next((grade for grade in self.grades if grade.grade == name.replace("-", "_")), None)

    def told(self) -> tuple[str, ...]:
        """Return every promise as a sentence: one for each grade, then where it ends and what a budget bought."""
        if not self.grades:
            why = _ABSENT.get(self.absence or "", f"{self.absence}.")
            endings = (ending.told() for ending in self.endings)
            if self.budget is None:
                return (f"No statement about the whole network: {why}", *endings)
            return (self.budget.told(), f"{_BY_SKETCH} No more about the whole network: {why}", *endings)
        told = [grade.told(of=self._whose(grade)) for grade in self.grades]
        if not self.reaches_output:
            told.append(f"NOTHING is promised of the network's output: the certificate speaks of node {self.node!r}.")
        told += [ending.told() for ending in self.endings]
        return (*told, *([] if self.budget is None else [self.budget.told()]))

    def _whose(self, grade: GradeCertificate) -> str:
        return "output" if self.reaches_output and grade.node == self.node else f"value of node {grade.node!r}"


def upper(bound: float) -> str:
    """Return an upper bound with four significant digits, rounded up: it must stay one in words."""
    return _rounded(bound, ROUND_CEILING)


def lower(bound: float) -> str:
    """Return a lower bound with four significant digits, rounded down."""
    return _rounded(bound, ROUND_FLOOR)


def _share(share: float) -> str:
    return f"{(Decimal(share) * 100).quantize(Decimal('0.01'), rounding=ROUND_FLOOR)} %"


def _rounded(bound: float, rounding: str) -> str:
    found = Context(prec=_FIGURES, rounding=rounding).create_decimal_from_float(bound).normalize()
    return f"{found:f}" if 0 <= found.adjusted() < _DIGITS else f"{found:g}"  # which writes 10 as 1e+1
