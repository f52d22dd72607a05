"""What is written down of every case, one JSON object a line."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Quality:
    """How well a network does. Loss: mean cross-entropy of classes, or mean squared error of a standardised number."""

    calibration_loss: float
    test_loss: float
    test_accuracy: float | None
    """None: a number is predicted."""


@dataclass(frozen=True)
class Promises:
    """Promises of one kind and grade in one case."""

    grade: str
    about: str
    count: int
    violations: int
    certified: float
    """The largest."""
    measured: float
    """The largest."""

    @property
    def looseness(self) -> float | None:
        """How many times the certificate exceeds what was measured; None where nothing moved."""
        return self.certified / self.measured if self.measured else None


@dataclass(frozen=True)
class Case:
    """One network compressed in one way."""

    model: str
    kind: str
    seed: int
    family: str
    rule: str
    matched_to: str
    """Family of the trial whose pruned ratio this baseline was given; empty: it is none."""
    weights: int
    pruned: int
    """Zeros among the weights after the cut."""
    before: Quality
    after: Quality
    promises: tuple[Promises, ...]
    operator_norms_mean_square: float
    """What the plain product of operator norms makes of the same second moments: see baselines.py."""
    held_out_l2: float
    """Root mean square of the change of the output vector on the test samples, which no mean square certificate covers."""
    tightest: str
    """Grade."""
    seconds: float
    """Of the call to the service."""

    @property
    def pruned_ratio(self) -> float:
        """Share of zeros."""
        return self.pruned / self.weights

    @property
    def violations(self) -> int:
        """Refuted promises."""
        return sum(each.violations for each in self.promises)

    @property
    def loss_increase(self) -> float:
        """On the test samples."""
        return self.after.test_loss - self.before.test_loss

    def promise(self, grade: str, about: str) -> Promises | None:
        """Return the promises of a kind, None where there are none."""
        return next((each for each in self.promises if (each.grade, each.about) == (grade, about)), None)


@dataclass(frozen=True)
class Duel:
    """The error budget against uniform magnitude: how much each prunes at the same certified error."""

    model: str
    kind: str
    seed: int
    scope: str
    """Of the magnitude rule."""
    grade: str
    by: str
    """"cost": both are held to the sum of costs. "certificate": both to the tightest certificate of the grade."""
    max_error: float
    weights: int
    magnitude_pruned: int
    budget_pruned: int
    budget_certified_error: float

    @property
    def won(self) -> bool:
        """Whether the budget pruned at least as much."""
        return self.budget_pruned >= self.magnitude_pruned


def write(path: Path, records: Iterable[Case | Duel]) -> Iterator[Case | Duel]:
    """Write records as they come, and pass them on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps({"record": type(record).__name__, **asdict(record)}) + "\n")
            file.flush()
            yield record


def read(path: Path) -> tuple[list[Case], list[Duel]]:
    """Return what was written."""
    cases: list[Case] = []
    duels: list[Duel] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        if fields.pop("record") == "Duel":
            duels.append(Duel(**fields))
            continue
        for name in ("before", "after"):
            fields[name] = Quality(**fields[name])
        fields["promises"] = tuple(Promises(**each) for each in fields["promises"])
        cases.append(Case(**fields))
    return cases, duels
