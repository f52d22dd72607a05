"""The tensors of a network while a call holds them: as they came and as they go, decoded when the math asks."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from ellq_kernels.contract import Kernels, Weights
from ellq_math.sums import Array
from ellq_server.layout import from_rows, numbers
from ellq_server.planning import Plan
from ellq_server.workbench import Measured


class NetworkTensors:
    """Keeps the bytes of every tensor that a network uses. Lives as long as its call."""

    def __init__(self, needed: Collection[str], kernels: Kernels) -> None:
        """Begin with nothing kept; `needed` are the names of the tensors that the network uses."""
        self._needed = frozenset(needed)
        self._kernels = kernels
        self._untouched: dict[str, tuple[Plan, bytes]] = {}
        self._measured: dict[str, Measured] = {}

    def keep(self, plan: Plan, stored: memoryview, measured: Measured | None) -> None:
        """Keep a tensor, if the network uses it; `measured` unless it passes through."""
        name = plan.entry.name
        if name not in self._needed:
            return
        if measured is None:
            self._untouched[name] = (plan, bytes(stored))
        else:
            self._measured[name] = measured

    def drop(self, name: str) -> None:
        """Let go of a tensor that is needed no more."""
        self._untouched.pop(name, None)
        self._measured.pop(name, None)

    def original(self, name: str) -> Array:
        """Return the tensor as it came: float64, stored shape."""
        if name in self._untouched:
            plan, stored = self._untouched[name]
            return numbers(plan, stored).reshape(plan.entry.shape)
        measured = self._measured[name]
        assert measured.original is not None
        return _stored(measured, memoryview(measured.original))

    def changed(self, name: str) -> Array:
        """Return the tensor as it is now: float64, stored shape."""
        if name in self._untouched:
            return self.original(name)
        measured = self._measured[name]
        return _stored(measured, self._kernels.payload(measured.weights))

    def with_trial(self, weights: Mapping[str, Weights]) -> "NetworkTensors":
        """Return the same tensors, but changed as in these weights in the kernels' hands, by name."""
        trial = NetworkTensors(self._needed, self._kernels)
        trial._untouched = self._untouched
        trial._measured = {
            name: replace(measured, weights=weights.get(name, measured.weights)) for name, measured in self._measured.items()
        }
        return trial

    def nonfinite(self) -> Collection[str]:
        """Return the names of tensors that hold NaN or infinity: only such as pass through can."""
        return [name for name in self._untouched if not np.isfinite(self.original(name)).all()]


def _stored(measured: Measured, rows: memoryview) -> Array:
    """Return the numbers of rows of neurons in the tensor's own shape."""
    plan = measured.plan
    return numbers(plan, from_rows(plan, rows)).reshape(plan.entry.shape)
