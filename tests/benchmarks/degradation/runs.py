"""Compresses a subject by the service, runs both networks, and writes down what was promised and what came."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from ellq_client import Client
from ellq_client.certificates import NetworkCertificate
from tests.benchmarks.degradation.baselines import operator_norms
from tests.benchmarks.degradation.measuring import Weights, with_weights
from tests.benchmarks.degradation.models import loss
from tests.benchmarks.degradation.records import Case, Promises, Quality
from tests.benchmarks.degradation.statements import Statements, effect_of, statements_of
from tests.benchmarks.degradation.subjects import Subject
from tests.benchmarks.degradation.trials import Grid, Trial, matched, trials_of


@dataclass(frozen=True)
class Outcome:
    """What a trial led to."""

    case: Case
    weights: Weights
    certificate: NetworkCertificate


def cases_of(client: Client, subject: Subject, grid: Grid) -> Iterator[Case]:
    """Yield a case for every trial, and for uniform magnitude pruning of the same ratio."""
    for trial in trials_of(subject, grid):
        case = outcome_of(client, subject, trial).case
        yield case
        baseline = matched(trial, case.pruned_ratio)
        if baseline is not None:
            yield outcome_of(client, subject, baseline).case


def outcome_of(client: Client, subject: Subject, trial: Trial) -> Outcome:
    """Compress by the service, run both networks, compare."""
    start = time.perf_counter()
    compression = client.compress(
        subject.weights,
        rule=trial.rule,
        network=subject.network,
        moments=subject.calibration,
        magnitudes_only=not trial.weighed,
        remove_dead_neurons=trial.removes_dead_neurons,
    ).result()
    seconds = time.perf_counter() - start
    weights, certificate = compression.weights, compression.network
    assert weights is not None, "arrays come back as arrays"
    assert certificate is not None, "a rule and a network lead to a certificate"
    return Outcome(_case(subject, trial, weights, certificate, seconds), weights, certificate)


def _case(subject: Subject, trial: Trial, weights: Weights, certificate: NetworkCertificate, seconds: float) -> Case:
    network = with_weights(subject.module, weights)
    effect = effect_of(subject, network)
    cut = [weights[seen.tensor] for seen in subject.traces]
    return Case(
        model=subject.recipe.name,
        kind=subject.recipe.kind,
        seed=subject.seed,
        family=trial.family,
        rule=repr(trial.rule),
        matched_to=trial.matched_to,
        weights=sum(weight.size for weight in cut),
        pruned=sum(int((weight == 0).sum()) for weight in cut),
        before=_quality(subject, subject.traces[-1].values, subject.test_outputs),
        after=_quality(subject, effect.calibration_outputs, effect.test_outputs),
        promises=promises_of(statements_of(subject, effect, certificate, budget_grade=trial.budget_grade)),
        operator_norms_mean_square=operator_norms(subject, network),
        held_out_l2=effect.test.average.norm,
        tightest=certificate.tightest or "",
        seconds=seconds,
    )


def promises_of(statements: Iterable[Statements]) -> tuple[Promises, ...]:
    """Return the promises of each grade and kind together."""
    found: dict[tuple[str, str], Promises] = {}
    for each in statements:
        key = (each.grade, each.about)
        known = found.get(key, Promises(*key, count=0, violations=0, certified=0.0, measured=0.0))
        found[key] = Promises(
            *key,
            count=known.count + each.certified.size,
            violations=known.violations + each.violations,
            certified=max(known.certified, float(each.certified.max())),
            measured=max(known.measured, float(each.measured.max())),
        )
    return tuple(found.values())


def _quality(subject: Subject, calibration_outputs: torch.Tensor, test_outputs: torch.Tensor) -> Quality:
    accuracy = None
    if subject.has_classes:
        accuracy = float((test_outputs.argmax(dim=1) == subject.test_targets).double().mean())
    return Quality(
        calibration_loss=loss(calibration_outputs, subject.calibration_targets).item(),
        test_loss=loss(test_outputs, subject.test_targets).item(),
        test_accuracy=accuracy,
    )
