"""Means, medians and groups of records, and what is read off a single one."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import mean, stdev
from typing import TypeVar

from tests.benchmarks.degradation.records import Case

Key = TypeVar("Key", bound=Hashable)
Record = TypeVar("Record")
Pair = tuple[Case, Case]


def grouped(records: Iterable[Record], key: Callable[[Record], Key]) -> dict[Key, list[Record]]:
    """Return the records by key, in the order of first sight."""
    found: dict[Key, list[Record]] = defaultdict(list)
    for record in records:
        found[key(record)].append(record)
    return dict(found)


def pairs_of(cases: Sequence[Case]) -> list[Pair]:
    """Return the cases with a uniform magnitude pruning of the same ratio, and that one: it was written right after them."""
    return [(case, baseline) for case, baseline in pairwise(cases) if baseline.matched_to]


def harm(case: Case) -> float:
    """Return the accuracy lost on held-out samples, or the mean squared error added."""
    before, after = case.before.test_accuracy, case.after.test_accuracy
    return case.loss_increase if before is None or after is None else before - after


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error, which a single value does not have: 0."""
    return mean(values), stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def _promised(grade: str, about: str) -> Callable[[Case], float | None]:
    def looseness(case: Case) -> float | None:
        promise = case.promise(grade, about)
        return None if promise is None else promise.looseness

    return looseness


def _operator_norms(case: Case) -> float | None:
    promise = case.promise("mean_square", "outputs_l2")
    return case.operator_norms_mean_square / promise.measured if promise and promise.measured else None


LOOSENESS: Mapping[str, Callable[[Case], float | None]] = {
    "mean square": _promised("mean_square", "outputs_l2"),
    "operator norms, mean square": _operator_norms,
    "ball": _promised("ball", "outputs_l2"),
    "operator norms, ball": _promised("ball", "operator_norm_product"),
    "box": _promised("box", "outputs_max"),
}
"""How many times a certificate exceeds what was measured. Of the output vector (l_2 norm); the box, of the largest output."""


def gain(case: Case, over: str) -> float | None:
    """Return how many times closer to the measured change the tightest grade is than a bound by operator norms."""
    tightest = LOOSENESS[case.tightest.replace("_", " ")](case)
    plain = LOOSENESS[over](case)
    return plain / tightest if plain and tightest else None
