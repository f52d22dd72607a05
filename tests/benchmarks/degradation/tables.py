"""The tables of docs/degradation.md, from the records. Every function returns lines of Markdown."""

import re
from collections.abc import Iterable, Sequence
from statistics import median

from tests.benchmarks.degradation.records import Case, Duel
from tests.benchmarks.degradation.samples import LOOSENESS, gain, grouped, harm, mean_and_error, pairs_of

PRUNED = (0.25, 0.5, 0.75, 1.0)
"""Upper ends of the classes of pruned ratios."""


def networks(cases: Sequence[Case]) -> list[str]:
    """Return how good the networks are before anything is cut."""
    lines = _head("network", "kind", "weights", "seeds", "test loss", "test accuracy")
    for model, runs in grouped(cases, lambda case: case.model).items():
        seeds = {case.seed: case.before for case in runs}.values()
        accuracies = [before.test_accuracy for before in seeds if before.test_accuracy is not None]
        loss = _mean([before.test_loss for before in seeds])
        lines.append(_row(model, runs[0].kind, runs[0].weights, len(seeds), loss, _mean(accuracies) if accuracies else "-"))
    return lines


def one_shot(cases: Sequence[Case], model: str) -> list[str]:
    """Return what each rule prunes of one model, what that costs, and what uniform magnitude costs at the same ratio."""
    own = [case for case in cases if case.model == model]
    cost = "MSE added" if own[0].before.test_accuracy is None else "accuracy lost"
    lines = _head("rule", "pruned", cost, f"{cost} by uniform magnitude")
    for rule, pairs in grouped(pairs_of(own), lambda pair: f"{pair[0].family} {_numbers(pair[0].rule)}").items():
        pruned = _mean([case.pruned_ratio for case, _ in pairs])
        lines.append(_row(rule, pruned, *(_mean([harm(pair[side]) for pair in pairs]) for side in (0, 1))))
    return lines


def orderings(cases: Sequence[Case]) -> list[str]:
    """Return in how many pairs a rule adds less loss on held-out samples than uniform magnitude of the same ratio."""
    pairs = pairs_of(cases)
    families = list(grouped(pairs, lambda pair: pair[0].family))
    lines = _head("network", *families)
    for model, own in grouped(pairs, lambda pair: pair[0].model).items():
        found = grouped(own, lambda pair: pair[0].family)
        wins = [[case.loss_increase < other.loss_increase for case, other in found.get(family, [])] for family in families]
        lines.append(_row(model, *(f"{sum(each)} of {len(each)}" for each in wins)))
    return lines


def violations(cases: Sequence[Case]) -> list[str]:
    """Return how many promises were held against samples, and how many were refuted."""
    promises = [each for case in cases for each in case.promises]
    lines = _head("grade", "about", "cases", "promises", "refuted")
    for (grade, about), found in sorted(grouped(promises, lambda each: (each.grade, each.about)).items()):
        lines.append(_row(grade, about, len(found), sum(each.count for each in found), sum(each.violations for each in found)))
    count, refuted = sum(each.count for each in promises), sum(each.violations for each in promises)
    return [*lines, _row("all", "", len(cases), count, refuted)]


def tightness(cases: Sequence[Case]) -> list[str]:
    """Return the median of certificate / measured, by kind of network and share pruned."""
    lines = _head("network", "pruned", "cases", *LOOSENESS)
    for (kind, most), found in sorted(grouped(moved(cases), _class).items()):
        cells = [_figures(median(_known(looseness(case) for case in found))) for looseness in LOOSENESS.values()]
        lines.append(_row(kind, f"up to {most:.0%}", len(found), *cells))
    return lines


def gains(cases: Sequence[Case]) -> list[str]:
    """Return how many times tighter the tightest grade is than products of operator norms: the median over the cases."""
    lines = _head("network", "than operator norms, ball", "than operator norms, mean square")
    kinds = {**grouped(moved(cases), lambda case: case.kind), "all": moved(cases)}
    for kind, found in kinds.items():
        cells = [median(_known(gain(case, f"operator norms, {over}") for case in found)) for over in ("ball", "mean square")]
        lines.append(_row(kind, *map(_figures, cells)))
    return lines


def duels(found: Sequence[Duel]) -> list[str]:
    """Return how much the error budget prunes where uniform magnitude spends the same certified error."""
    lines = _head(
        "held to", "grade", "magnitude", "duels", "budget prunes at least as much", "pruned by magnitude", "by budget"
    )
    for (by, grade, scope), each in sorted(grouped(found, lambda duel: (duel.by, duel.grade, duel.scope)).items()):
        shares = [[duel.magnitude_pruned / duel.weights for duel in each], [duel.budget_pruned / duel.weights for duel in each]]
        lines.append(_row(by, grade, scope, len(each), sum(duel.won for duel in each), *map(_mean, shares)))
    return lines


def held_out(cases: Sequence[Case]) -> list[str]:
    """Return how the change on held-out samples, which mean square certificates do not cover, compares with them."""
    lines = _head("network", "cases", "median of held-out / calibration", "held-out change above the certificate")
    for model, own in grouped(moved(cases), lambda case: case.model).items():
        promises = [(case.held_out_l2, case.promise("mean_square", "outputs_l2")) for case in own]
        known = [(l2, promise) for l2, promise in promises if promise is not None]
        ratio = median(l2 / promise.measured for l2, promise in known)
        lines.append(_row(model, len(own), _figures(ratio), sum(l2 > promise.certified for l2, promise in known)))
    return lines


def moved(cases: Sequence[Case]) -> list[Case]:
    """Return the cases whose outputs moved at all."""
    return [case for case in cases if LOOSENESS["mean square"](case) is not None]


def _class(case: Case) -> tuple[str, float]:
    return case.kind, next(most for most in PRUNED if case.pruned_ratio <= most)


def _numbers(rule: str) -> str:
    """Return the numbers of a rule as it prints itself."""
    return ", ".join(re.findall(r"\b(?:q|eta|epsilon)=[\d.]+", rule))


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None] or [float("nan")]


def _mean(values: Sequence[float]) -> str:
    value, error = mean_and_error(values)
    return f"{value:.3f} ± {error:.3f}"


def _figures(value: float) -> str:
    return f"{value:.3g}"


def _head(*titles: str) -> list[str]:
    return [_row(*titles), _row(*("---" for _ in titles))]


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
