"""A tiny version of the study: a real network, the real service, every promise held against samples."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ellq_client import Client
from ellq_client import rules as kinds
from tests.benchmarks.degradation import models
from tests.benchmarks.degradation.__main__ import records_of, tables_of
from tests.benchmarks.degradation.data import digits
from tests.benchmarks.degradation.measuring import magnitudes, rounding_of, trace, with_weights
from tests.benchmarks.degradation.models import Recipe
from tests.benchmarks.degradation.page import fill
from tests.benchmarks.degradation.records import Case, Duel, read, write
from tests.benchmarks.degradation.runs import outcome_of
from tests.benchmarks.degradation.statements import effect_of, statements_of
from tests.benchmarks.degradation.subjects import Subject, subject_of
from tests.benchmarks.degradation.trials import QUICK, Trial

TINY = Recipe("tiny", "digits", (64, 24, 16, 10), epochs=20)
TINY_GRID = replace(QUICK, budgets=(0.1, 1.0), measured_budgets=(0.5,), ratios=(0.3, 0.8), certificate_duels=(0.5,))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "FOLDER", tmp_path_factory.mktemp("study"))
        return subject_of(TINY, digits(), seed=0)


@pytest.fixture(scope="module")
def records(client: Client, subject: Subject) -> list[Case | Duel]:
    return list(records_of(client, subject, TINY_GRID))


@pytest.fixture(scope="module")
def cases(records: list[Case | Duel]) -> list[Case]:
    return [record for record in records if isinstance(record, Case)]


def test_no_promise_is_refuted(cases: list[Case]):
    assert [(case.family, case.rule) for case in cases if case.violations] == []


def test_every_case_is_held_to_every_grade(cases: list[Case], subject: Subject):
    outputs = subject.test_outputs.shape[1]
    for case in cases:
        counts = [promise.count for grade in ("box", "ball", "mean_square") if (promise := case.promise(grade, "outputs"))]
        assert counts == [2 * outputs, 2 * outputs, outputs]  # on calibration and test samples; moments know the former only


def test_the_rules_cut_something_that_moves_the_outputs(cases: list[Case]):
    assert {case.family for case in cases if not case.held_out_l2} <= {case.family for case in cases if not case.pruned}
    assert sum(case.pruned > 0 for case in cases) > len(cases) / 2


def test_the_budget_never_prunes_less_than_magnitude_of_the_same_cost(records: list[Case | Duel]):
    duels = [record for record in records if isinstance(record, Duel) and record.by == "cost"]
    assert duels
    assert all(duel.won for duel in duels)


def test_a_certificate_of_a_lighter_cut_is_refuted(client: Client, subject: Subject):
    light, heavy = (outcome_of(client, subject, Trial("", kinds.Fraction(pruned_ratio=ratio))) for ratio in (0.02, 0.9))
    effect = effect_of(subject, with_weights(subject.module, heavy.weights))
    found = {(each.grade, each.about): each for each in statements_of(subject, effect, light.certificate, budget_grade=None)}
    assert found["mean_square", "outputs"].violations
    assert found["mean_square", "layer_own"].violations


def test_a_promise_that_is_no_number_is_refuted(client: Client, subject: Subject):
    outcome = outcome_of(client, subject, Trial("", kinds.Fraction(pruned_ratio=0.5)))
    effect = effect_of(subject, with_weights(subject.module, outcome.weights))
    empty = tuple(replace(grade, output_error_l2=float("nan")) for grade in outcome.certificate.grades)
    certificate = replace(outcome.certificate, grades=empty)
    found = [each for each in statements_of(subject, effect, certificate, budget_grade=None) if each.about == "outputs_l2"]
    assert all(each.violations for each in found)


def test_rounding_covers_how_far_float64_is_from_exact_arithmetic():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    inputs = torch.randn(20, 5, dtype=torch.float64)
    rounding = rounding_of(magnitudes(module, inputs)[-1])
    for sample, computed in zip(inputs.tolist(), trace(module, inputs)[-1].values.tolist(), strict=True):
        exact = _exact(module, [Fraction(value) for value in sample])
        off = [abs(Fraction(one) - other) for one, other in zip(computed, exact, strict=True)]
        assert all(error <= Fraction(bound) for error, bound in zip(off, rounding.tolist(), strict=True))
    assert np.all(rounding < 1e-12)  # and is no excuse for a certificate


def test_tables_are_made_of_what_was_written(records: list[Case | Duel], tmp_path: Path):
    path, page = tmp_path / "records.jsonl", tmp_path / "page.md"
    assert list(write(path, records)) == records
    cases, duels = read(path)
    assert [*cases, *duels] == sorted(records, key=lambda record: isinstance(record, Duel))
    page.write_text("before\n<!-- table: duels -->\nold\n<!-- end of table -->\nafter\n", encoding="utf-8")
    fill(page, tables_of(cases, duels))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- table: duels -->\n| held to | grade |")
    assert text.endswith("|\n<!-- end of table -->\nafter\n")
    assert "old" not in text


def _exact(module: nn.Sequential, values: list[Fraction]) -> list[Fraction]:
    for layer in module:
        if isinstance(layer, nn.ReLU):
            values = [max(value, Fraction(0)) for value in values]
            continue
        rows = zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
        values = [sum((Fraction(w) * x for w, x in zip(row, values, strict=True)), Fraction(bias)) for row, bias in rows]
    return values
