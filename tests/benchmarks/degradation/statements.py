"""Every promise of a certificate beside what it promises about, on samples that it covers.

A promise is refuted when the true number surely exceeds it: the measured one, less all that rounding can explain.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch import nn

from ellq_client.certificates import GradeCertificate, LayerEffect, NetworkCertificate
from tests.benchmarks.degradation.measuring import (
    Array,
    Change,
    Size,
    change,
    magnitudes,
    outputs_of,
    rounding_of,
    through,
    trace,
)
from tests.benchmarks.degradation.subjects import Subject


@dataclass(frozen=True)
class Effect:
    """What compression did to a subject: how far the outputs moved, and what every layer did."""

    calibration: Change
    test: Change
    calibration_outputs: torch.Tensor
    test_outputs: torch.Tensor
    layers: dict[str, Change]
    """By tensor: how far its layer's values moved on the calibration samples, with the errors of the layers before."""
    own: dict[str, Change]
    """By tensor: how far they moved by the change of this tensor alone."""
    rounding: Array
    """(outputs,) bounds the error of each computed change."""


def effect_of(subject: Subject, compressed: nn.Sequential) -> Effect:
    """Run both networks side by side."""
    before, after = subject.traces, trace(compressed, subject.calibration_inputs)
    roundings = [
        rounding_of(old) + rounding_of(new)
        for old, new in zip(subject.magnitudes, magnitudes(compressed, subject.all_inputs), strict=True)
    ]
    moved = [change(new.values - old.values, off) for old, new, off in zip(before, after, roundings, strict=True)]
    outputs = outputs_of(compressed, subject.test_inputs)
    return Effect(
        calibration=moved[-1],
        test=change(outputs - subject.test_outputs, roundings[-1]),
        calibration_outputs=after[-1].values,
        test_outputs=outputs,
        layers={layer.tensor: one for layer, one in zip(before, moved, strict=True)},
        own={layer.tensor: _own_change(subject, compressed, number) for number, layer in enumerate(before)},
        rounding=roundings[-1],
    )


@dataclass(frozen=True)
class Statements:
    """Promises of one kind: one for each output, or a single one. Shape of all: (promises,) float64."""

    grade: str
    """What kind of promise: "box", "ball" or "mean_square"."""
    about: str
    """"outputs", "outputs_l2", "operator_norm_product", "layer_own", "layer", "budget" or "changed_share"."""
    certified: Array
    measured: Array
    surely: Array
    """What the true numbers are at least."""

    @property
    def violations(self) -> int:
        """How many are refuted. NaN would be no promise at all, and counts."""
        return int((~(self.surely <= self.certified)).sum())


def statements_of(
    subject: Subject, effect: Effect, certificate: NetworkCertificate, *, budget_grade: str | None
) -> Iterator[Statements]:
    """Yield every promise that the samples can test. All networks of the study are bounded up to their outputs."""
    assert certificate.reaches_output, certificate.told()
    for grade in certificate.grades:
        for moved in [effect.calibration] if grade.grade == "mean_square" else [effect.calibration, effect.test]:
            yield from _of_outputs(grade, moved.of_grade(grade.grade))
        if grade.unchanged_share is not None:
            yield _of_classes(grade, subject, effect)
    for layer in certificate.layers:
        yield from _of_layer(layer, effect)
    if certificate.budget is not None and budget_grade is not None:
        size = effect.calibration.of_grade(budget_grade)
        for certified in (certificate.budget.cost, certificate.budget.certified_error):
            yield _of_largest(budget_grade, "budget", certified, size)


def _of_outputs(grade: GradeCertificate, size: Size) -> Iterator[Statements]:
    yield Statements(grade.grade, "outputs", np.array(grade.output_errors), size.values, size.values_surely)
    yield _of_largest(grade.grade, "outputs_max", grade.output_error_max, size)
    yield _of_norm(grade.grade, "outputs_l2", grade.output_error_l2, size)
    if grade.operator_norm_product is not None:
        yield _of_norm(grade.grade, "operator_norm_product", grade.operator_norm_product, size)


def _of_layer(layer: LayerEffect, effect: Effect) -> Iterator[Statements]:
    own, moved = effect.own[layer.tensor].of_grade(layer.grade), effect.layers[layer.tensor].of_grade(layer.grade)
    yield _of_largest(layer.grade, "layer_own", layer.own_error_max, own)
    yield _of_norm(layer.grade, "layer_own", layer.own_error_l2, own)
    if layer.error_max is not None and layer.error_l2 is not None:
        yield _of_largest(layer.grade, "layer", layer.error_max, moved)
        yield _of_norm(layer.grade, "layer", layer.error_l2, moved)


def _of_classes(grade: GradeCertificate, subject: Subject, effect: Effect) -> Statements:
    """Compare shares of the calibration samples that change class, in exact arithmetic."""
    classes = subject.traces[-1].values.argmax(dim=1, keepdim=True)
    after = effect.calibration_outputs
    lead = after.gather(1, classes) - after.scatter(1, classes, -np.inf).amax(dim=1, keepdim=True)
    changed, surely = (int((lead < -off).sum()) for off in (0.0, 2 * float(effect.rounding.max())))
    samples = len(after)
    most = int((1 - Fraction(grade.unchanged_share)) * samples)  # a count of samples is whole
    return _single(grade.grade, "changed_share", most / samples, changed / samples, surely / samples)


def _of_largest(grade: str, about: str, certified: float, size: Size) -> Statements:
    return _single(grade, about, certified, float(size.values.max()), float(size.values_surely.max()))


def _of_norm(grade: str, about: str, certified: float, size: Size) -> Statements:
    return _single(grade, about, certified, size.norm, size.norm_surely)


def _single(grade: str, about: str, certified: float, measured: float, surely: float) -> Statements:
    return Statements(grade, about, np.array([certified]), np.array([measured]), np.array([surely]))


def _own_change(subject: Subject, compressed: nn.Sequential, number: int) -> Change:
    """Return how far the values of a layer move by its own change, its inputs being those of the original network."""
    seen, most = subject.traces[number], subject.magnitudes[number]
    name = seen.tensor.removesuffix(".weight")
    layer = subject.module.get_submodule(name)
    delta = compressed.get_submodule(name).weight.detach() - layer.weight.detach()
    # One rounding more than a layer's: the difference of the weights.
    off = rounding_of(replace(most, values=through(layer, delta.abs(), most.inputs), roundings=most.roundings + 1))
    return change(through(layer, delta, seen.inputs), off)
