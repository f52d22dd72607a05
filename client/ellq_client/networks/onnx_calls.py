"""One node of an ONNX graph, with what is known of its inputs. No onnx is imported here."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ellq_client.networks.tracing import Inexpressible, Shape, Value


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that is always the same."""

    name: str | None
    """Its name as an initializer, by which weights are sent; None for one inside the graph."""
    array: np.ndarray


@dataclass(frozen=True)
class Call:
    """One node of the graph."""

    kind: str
    inputs: tuple[Value | Constant | None, ...]
    """None: an optional one that is left out."""
    attributes: dict[str, Any]
    batch: int | None
    """Samples that the graph is made for; None: any number."""

    @property
    def input(self) -> Value:
        """The first tensor, which flows."""
        first = self.inputs[0] if self.inputs else None
        if not isinstance(first, Value):
            raise Inexpressible(f"{self.kind} of a constant")
        return first

    @property
    def shape(self) -> Shape:
        """Shape of one sample of the first tensor."""
        if self.input.shape is None:
            raise Inexpressible(f"{self.kind} of a tensor of unknown shape")
        return self.input.shape

    def constant(self, place: int) -> Constant | None:
        """Return the constant at a place; None when it is left out."""
        found = self.inputs[place] if place < len(self.inputs) else None
        if isinstance(found, Value):
            raise Inexpressible(f"{self.kind} whose input {place} is no constant")
        return found

    def tensor(self, place: int, axes: int | None = None) -> str | None:
        """Return the name of the initializer at a place; None when it is left out."""
        found = self.constant(place)
        if found is not None and (found.name is None or axes not in (None, found.array.ndim)):
            raise Inexpressible(f"{self.kind} whose input {place} is no initializer of {axes} axes")
        return found.name if found is not None else None

    def needed_tensor(self, place: int, axes: int) -> str:
        """Return the name of the initializer at a place that no valid node leaves out."""
        found = self.tensor(place, axes)
        if found is None:
            raise Inexpressible(f"{self.kind} without its input {place}")
        return found

    def pair(self) -> tuple[Value | Constant | None, Value | Constant | None]:
        """Return both inputs of a node that has two."""
        if len(self.inputs) != 2:
            raise Inexpressible(f"{self.kind} whose inputs are {len(self.inputs)}, not two")
        return self.inputs[0], self.inputs[1]

    def needed_attribute(self, name: str) -> Any:
        """Return an attribute that no valid node leaves out."""
        if name not in self.attributes:
            raise Inexpressible(f"{self.kind} without {name}")
        return self.attributes[name]

    def require(self, holds: bool, trouble: str) -> None:
        """Refuse a node of which something does not hold."""
        if not holds:
            raise Inexpressible(f"{self.kind} {trouble}")
