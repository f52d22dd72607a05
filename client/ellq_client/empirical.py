"""What samples say about a compressed network, where nothing can be proved: limits that hold with a stated confidence.

    changed predictions   Clopper & Pearson, "The use of confidence or fiducial limits ...", Biometrika 26 (1934)
    mean loss change      empirical Bernstein bound: Maurer & Pontil, "Empirical Bernstein Bounds and Sample Variance
                          Penalization" (2009), Theorem 4

Both are one-sided upper limits, for samples drawn independently from the population of interest. Samples that had a say in the
compression (its rule, its budget, its moments) are no such samples.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ellq_client.certificates import upper
from ellq_client.counting import counted
from ellq_client.errors import ExtraMissing

Array: TypeAlias = npt.NDArray[np.float64]
Model: TypeAlias = Callable[[Any], Any]
Loss: TypeAlias = Callable[[Any, Any], Any]

_LARGEST_LOSS = 1e300
"""Of losses up to it, no difference and no sum over samples overflows."""

_MARGIN = 2.0**-20
"""Share of the error probability that is given away for the rounding of the incomplete beta function: costs nothing."""


@dataclass(frozen=True, slots=True)
class EmpiricalCertificate:
    """Limits for a population from samples of it. All of them hold together with the stated confidence."""

    samples: int
    confidence: float
    """Probability, over the draw of the samples, that no limit here is wrong."""
    changed: int | None
    """Samples whose predicted class changed; None: predictions were not compared."""
    changed_ratio_max: float | None
    """Upper limit of the share of the population whose predicted class changes."""
    loss_change: float | None
    """Mean over the samples of the loss after less the loss before; None: no loss was given."""
    loss_change_max: float | None
    """Upper limit of that mean over the population."""

    def told(self) -> str:
        """Return what is promised, for a person: each limit, then what it rests on."""
        lines: list[str] = []
        if self.changed_ratio_max is not None:
            ratio = upper(100 * self.changed_ratio_max)
            lines.append(f"at most {ratio} % of all predictions change ({self.changed} of {self.samples} samples did)")
        if self.loss_change_max is not None:
            rises = upper(self.loss_change_max)
            lines.append(f"the mean loss rises by at most {rises} (on the {self.samples} samples by {self.loss_change:.4g})")
        rests = "if the samples were drawn independently from the population of interest and had no say in the compression"
        percent = 100 * Decimal(repr(float(self.confidence)))  # as it was asked for: rounding could make it certainty
        return f"With a confidence of {percent.normalize():f} %, {'; and '.join(lines)}: {rests}."


def empirical_certificate(
    original: Model,
    compressed: Model,
    samples: Iterable[Any],
    *,
    confidence: float,
    predictions: bool = True,
    loss: Loss | None = None,
    loss_range: tuple[float, float] | None = None,
) -> EmpiricalCertificate:
    """Run both networks on samples and return what follows for the population they come from.

    `samples` are batches: inputs, or pairs (inputs, targets) as data loaders give them. Both networks take inputs and return
    (batch, classes): numpy arrays, torch tensors, or whatever numpy understands. A prediction changes when the set of classes
    with the largest output does, so a new tie counts as a change, and so does NaN. `predictions=False` is for outputs that are
    no classes. `loss(outputs, targets)` returns one number for each sample, always within `loss_range`, which must be
    known beforehand: a range read off the samples proves nothing.

    The probability of error 1 - confidence is split evenly over the limits. Errors: ValueError for arguments and outputs that
    do not fit; ExtraMissing without scipy.
    """
    _check(confidence, predictions=predictions, loss=loss, loss_range=loss_range)
    changed = count = 0
    changes: list[Array] = []
    for inputs, targets in _batches(samples):
        if loss is not None and targets is None:
            raise ValueError("a loss needs batches that are pairs (inputs, targets)")
        before, after = original(inputs), compressed(inputs)
        came = len(_numbers(before))
        if predictions:
            changed += int(changed_predictions(_numbers(before), _numbers(after)).sum())
        if loss is not None and loss_range is not None:
            losses = [_losses(loss(outputs, targets), count=came, loss_range=loss_range) for outputs in (before, after)]
            changes.append(losses[1] - losses[0])
        count += came
    if not count:
        raise ValueError("there are no samples")
    error = (1 - confidence) / (predictions + (loss is not None))
    differences = np.concatenate(changes) if changes else None
    return EmpiricalCertificate(
        samples=count,
        confidence=confidence,
        changed=changed if predictions else None,
        changed_ratio_max=share_limit(changed, count, error=error) if predictions else None,
        loss_change=None if differences is None else math.fsum(differences) / count,
        loss_change_max=None
        if differences is None or loss_range is None
        else mean_limit(differences, width=loss_range[1] - loss_range[0], error=error),
    )


def changed_predictions(before: Array, after: Array) -> npt.NDArray[np.bool_]:
    """Return which samples have another set of most likely classes, or a NaN. Shape: both (batch, classes) -> (batch,)."""
    if before.shape != after.shape or before.ndim != 2 or before.shape[1] < 2:
        message = f"the outputs are {before.shape} and {after.shape}; predictions need (batch, classes), two classes or more"
        raise ValueError(f"{message} (predictions=False is for outputs that are no classes)")
    unknown = np.isnan(before).any(axis=1) | np.isnan(after).any(axis=1)
    largest = [outputs == outputs.max(axis=1, keepdims=True) for outputs in (before, after)]
    return unknown | (largest[0] != largest[1]).any(axis=1)


def share_limit(changed: int, count: int, *, error: float) -> float:
    """Return the Clopper-Pearson upper limit of a share, rounded up: it is too small with a probability of at most `error`.

    The limit p solves P(X <= changed) = error for X ~ Binomial(count, p). The inverse is not believed: the answer is moved up
    until the distribution function itself says that it is large enough. Errors: ExtraMissing without scipy.
    """
    try:
        from scipy import special  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as missing:
        raise ExtraMissing("counting changed predictions needs scipy: pip install 'ellq[empirical]'") from missing
    if changed == count:
        return 1.0
    allowed = error * (1 - _MARGIN)
    functions: Any = special
    limit = float(functions.betainccinv(changed + 1, count - changed, allowed))
    step = math.ulp(1.0)
    while limit < 1 and not functions.betaincc(changed + 1, count - changed, limit) <= allowed:
        limit, step = limit + step * limit, 2 * step
    return min(limit, 1.0)


def mean_limit(differences: Array, *, width: float, error: float) -> float:
    """Return the empirical Bernstein upper limit of a mean, rounded up: too small with a probability of at most `error`.

    Shape: (n,), independent values in [-width, width]. With Z = (D + width) / (2 width) in [0, 1], V the unbiased variance of D
    and L = log(2 / error): mean + sqrt(2 V L / n) + 14 width L / (3 (n - 1)). Never above `width`, which needs no proof.
    """
    count = len(differences)
    if count == 1:
        return width
    log = math.log(2 / error)
    scaled = differences / width  # their squares neither overflow nor vanish, whatever the unit of the loss
    mean = math.fsum(scaled) / count
    variance = math.fsum((scaled - mean) ** 2) / (count - 1)
    limit = mean + math.sqrt(2 * variance * log / count) + 14 * log / (3 * (count - 1))
    # No term meets more than 16 roundings, and together they are below 1 + 2 (1 + L) + 5 L.
    return min(math.nextafter(width * (limit + (1 + log) * 2.0**-44), math.inf), width)


def _check(confidence: float, *, predictions: bool, loss: Loss | None, loss_range: tuple[float, float] | None) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence!r}; allowed is above 0 and below 1, such as 0.95")
    if not predictions and loss is None:
        raise ValueError("there is nothing to compare: give a loss, or leave predictions on")
    if (loss is None) != (loss_range is None):
        raise ValueError("loss and loss_range belong together: without a known range nothing follows from a mean")
    if loss_range is not None and not -_LARGEST_LOSS <= loss_range[0] < loss_range[1] <= _LARGEST_LOSS:
        raise ValueError(
            f"loss_range is {loss_range!r}; allowed is (least, largest), both finite and at most 1e300 in magnitude"
        )


def _batches(samples: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield inputs and targets; targets are None where there are none."""
    if hasattr(samples, "shape"):
        raise ValueError("samples is a single array; it takes batches: put it into a list")
    for batch in samples:
        if isinstance(batch, tuple | list):
            if len(batch) != 2:  # pyright: ignore[reportUnknownArgumentType]
                raise ValueError(f"a batch of {counted(len(batch), 'part')}; allowed are inputs, or a pair (inputs, targets)")  # pyright: ignore[reportUnknownArgumentType]
            yield batch[0], batch[1]
        else:
            yield batch, None


def _losses(losses: Any, *, count: int, loss_range: tuple[float, float]) -> Array:
    values = _numbers(losses)
    if values.shape != (count,):
        raise ValueError(f"the loss returns {values.shape} for {counted(count, 'sample')}; it must return one number for each")
    wrong = ~((values >= loss_range[0]) & (values <= loss_range[1]))
    if wrong.any():
        raise ValueError(f"a loss is {float(values[wrong.argmax()])!r}, outside loss_range {loss_range!r}")
    return values


def _numbers(values: Any) -> Array:
    """Return an array or a tensor as float64; a tensor of torch leaves its graph and its device."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double()
    found = np.asarray(values, dtype=np.float64)
    if not found.ndim:
        raise ValueError("a network returned a single number for a batch; it must return one row for each sample")
    return found
