"""What will be done to each tensor, decided from the header alone."""

import fnmatch
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ellq.v1.meanings import Meanings, read_meanings
from ellq.v1.safetensors import COMPRESSIBLE_DTYPES, TABLE_NAMES
from ellq.v1.scales import Scale
from ellq_math.dtypes import WEIGHT_DTYPES
from ellq_math.float8 import wide_dtype
from ellq_math.interruption import end_if_unwanted
from ellq_server.header import TensorEntry
from ellq_server.refusals import InvalidRequest, shorten
from ellq_server.scoped_rules import ScopedRule
from ellq_server.selections import Override, Selection

MOST_MATCHES = 10_000_000
"""Globs times tensors: a worker matches them one by one."""

MOST_LETTERS = 20_000_000_000
"""Letters of all globs times letters of all names, because hostile ones are matched letter by letter."""


class Reason(Enum):
    """Why a tensor is left untouched: the names of PassThroughReason in the contract, without their prefix."""

    DTYPE = "dtype"
    DIMENSIONS = "dimensions"
    EMPTY = "empty"
    NAME = "name"
    EXCLUDED = "excluded"
    SKIPPED = "skipped"
    NONFINITE = "nonfinite"
    QUANTIZED = "quantized"
    SCALE = "scale"
    SCALE_UNUSABLE = "scale_unusable"


@dataclass(frozen=True)
class Plan:
    """What will be done to one tensor."""

    position: int
    """In offset order, from 0."""
    entry: TensorEntry
    reason: Reason | None
    """Why it passes through; None when it is compressible."""
    neuron_axis: tuple[int, ...] = (0,)
    rule: ScopedRule | None = None
    """The rule of an override; None for the request's."""
    scale: Scale | None = None
    """What 8-bit weights are to be multiplied by; None: they are worth what is stored."""

    @property
    def widened(self) -> bool:
        """Whether the weights change their format before the kernels take them."""
        return self.reason is None and self.entry.dtype not in WEIGHT_DTYPES

    @property
    def wide_dtype(self) -> str:
        """The format in which the kernels take compressible weights."""
        return wide_dtype(scaled=self.scale is not None) if self.widened else self.entry.dtype

    @property
    def rows_bytes(self) -> int:
        """Bytes of compressible weights in the kernels' hands."""
        return self.weights * WEIGHT_DTYPES[self.wide_dtype].itemsize

    @property
    def neurons(self) -> int:
        """Rows of the weight matrix."""
        return math.prod(self.entry.shape[axis] for axis in self.neuron_axis)

    @property
    def fan_in(self) -> int:
        """Weights of each row."""
        return math.prod(self.entry.shape) // self.neurons

    @property
    def weights(self) -> int:
        """Weights of the tensor."""
        return math.prod(self.entry.shape)


@dataclass(frozen=True)
class Planning:
    """Plans for all tensors, the globs that matched none, and what the header told of quantised layers and scales."""

    plans: tuple[Plan, ...]
    idle_globs: tuple[str, ...]
    meanings: Meanings

    @property
    def compressible(self) -> tuple[Plan, ...]:
        """The plans of tensors that will be measured."""
        return tuple(plan for plan in self.plans if plan.reason is None)

    @property
    def awaited_scales(self) -> frozenset[str]:
        """Names of the scales that compressible weights need."""
        return frozenset(plan.scale.name for plan in self.compressible if plan.scale)


def plan_tensors(
    tensors: Sequence[TensorEntry], selection: Selection, axes: Mapping[str, tuple[int, ...]] | None = None
) -> Planning:
    """Decide for every tensor; `axes` are those that number the neurons where no override says so, by name, else axis 0.

    Errors: InvalidRequest (INVALID_NEURON_AXIS) when an override names axes that a matched tensor does not have,
    (INVALID_GLOB) when there are too many globs for so many tensors.
    """
    _check_work(tensors, selection)
    tables, include, exclude = _Globs(TABLE_NAMES), _Globs(selection.include), _Globs(selection.exclude)
    overrides = _Globs(override.glob for override in selection.overrides)
    meanings = read_meanings(tensors)
    plans = []
    for position, entry in enumerate(tensors):
        end_if_unwanted()
        matched = [selection.overrides[index] for index in overrides.matching(entry.name)]
        table, included, excluded = tables.any(entry.name), include.any(entry.name), exclude.any(entry.name)
        reason = _meant(meanings, entry) or _reason(entry, table=table, included=included, excluded=excluded, overrides=matched)
        if reason is not None:
            plans.append(Plan(position, entry, reason))
            continue
        known = (axes or {}).get(entry.name, (0,))
        axis = next((override.neuron_axis for override in reversed(matched) if override.neuron_axis), known)
        _check_axis(axis, entry)
        rule = next((override.rule for override in reversed(matched) if override.rule), None)
        plans.append(Plan(position, entry, None, axis, rule, meanings.scale_of(entry.name)))
    return Planning(tuple(plans), (*include.idle, *exclude.idle, *overrides.idle), meanings)


def _check_work(tensors: Sequence[TensorEntry], selection: Selection) -> None:
    globs = (*selection.include, *selection.exclude, *(override.glob for override in selection.overrides))
    letters = sum(map(len, globs)) * sum(len(entry.name) for entry in tensors)
    if len(globs) * len(tensors) > MOST_MATCHES or letters > MOST_LETTERS:
        asked = f"{len(globs)} globs over {len(tensors)} tensors are {len(globs) * len(tensors)} matches and {letters} letters"
        message = f"{asked}; allowed are {MOST_MATCHES} matches and {MOST_LETTERS} letters (of globs, times those of names)"
        raise InvalidRequest(message, reason="INVALID_GLOB", field="options.selection")


def _meant(meanings: Meanings, entry: TensorEntry) -> Reason | None:
    """Return why the tensor is left alone whatever the caller chooses: cutting it would change what others mean."""
    told = meanings.reason(entry.name)
    return None if told is None else Reason(told)


def _reason(entry: TensorEntry, *, table: bool, included: bool, excluded: bool, overrides: Sequence[Override]) -> Reason | None:
    """Return why the tensor is left alone; what can never change comes before what the caller chose."""
    if entry.dtype not in COMPRESSIBLE_DTYPES:
        return Reason.DTYPE
    if len(entry.shape) < 2:
        return Reason.DIMENSIONS
    if math.prod(entry.shape) == 0:
        return Reason.EMPTY
    if excluded:
        return Reason.EXCLUDED
    treatment = next((override for override in reversed(overrides) if override.skip or override.rule), None)
    if treatment and treatment.skip:
        return Reason.SKIPPED
    if table and not included:
        return Reason.NAME
    return None


def _check_axis(axis: tuple[int, ...], entry: TensorEntry) -> None:
    dimensions = len(entry.shape)
    if axis[-1] >= dimensions or len(axis) >= dimensions:
        allowed = f"at most {dimensions - 1} of the axes 0 to {dimensions - 1}"
        name = shorten(repr(entry.name))
        message = f"neuron_axis {list(axis)} does not fit tensor {name} of shape {list(entry.shape)}; allowed is {allowed}"
        raise InvalidRequest(message, reason="INVALID_NEURON_AXIS", field="options.selection.overrides.neuron_axis")


class _Globs:
    """Patterns that remember whether they ever matched."""

    def __init__(self, globs: Iterable[str]) -> None:
        self._globs = tuple(globs)
        self._patterns = [re.compile(fnmatch.translate(glob)) for glob in self._globs]
        self._matched = [False] * len(self._globs)

    def matching(self, name: str) -> list[int]:
        found = [index for index, pattern in enumerate(self._patterns) if pattern.match(name)]
        for index in found:
            self._matched[index] = True
        return found

    def any(self, name: str) -> bool:
        return bool(self.matching(name))

    @property
    def idle(self) -> list[str]:
        return [glob for glob, matched in zip(self._globs, self._matched, strict=True) if not matched]
