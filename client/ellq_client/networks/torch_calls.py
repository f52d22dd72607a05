"""One call in a traced torch module, in a form that modules, functions and methods share. No torch is imported here."""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any, cast

from ellq_client.networks.tracing import Inexpressible, Shape, Value


@dataclass(frozen=True)
class Call:
    """One call, whatever its form."""

    name: str
    """As torch writes it: "Conv2d", "relu_", "flatten"."""
    module: Any
    """The module that is called; None for functions and methods."""
    path: str
    """Of the module, as in the names of its tensors; empty for others."""
    stored: Container[str]
    """Names of all tensors of the state dict."""
    operands: tuple[Any, ...]
    """Positional arguments; tensors that flow are Values."""
    named: dict[str, Any]
    """Arguments by keyword."""
    output: Shape
    """Shape of one sample of what comes out."""

    def argument(self, name: str, place: int, default: Any = None) -> Any:
        """Return a setting: the module's attribute, or the function's argument by keyword or place."""
        if self.module is not None:
            return getattr(self.module, name, default)
        return self.named[name] if name in self.named else self.operands[place] if place < len(self.operands) else default

    def tensor(self, name: str, place: int = 0) -> str | None:
        """Return the stored name of a tensor of the module, or of one that a function is given; None when there is none."""
        given = self.argument(name, place)
        if given is None:
            return None
        if self.module is None:  # functions get the parameters of modules by their path
            path = str(given.target) if getattr(given, "op", "") == "get_attr" else ""
        else:
            path = f"{self.path}.{name}"
        if path not in self.stored:
            raise Inexpressible(f"{self.name} whose {name} is computed from other tensors")
        return path

    @property
    def values(self) -> list[Value]:
        """All tensors that it takes, in the order of the arguments."""
        return [one for one in flat((*self.operands, *self.named.values())) if isinstance(one, Value)]

    @property
    def input(self) -> Shape:
        """Shape of the one tensor that it takes."""
        if len(self.values) != 1:
            raise Inexpressible(f"{self.name} of {len(self.values)} tensors")
        shape = self.values[0].shape
        assert shape is not None, "calls are only made for values of known shape"
        return shape

    def require(self, holds: bool, trouble: str) -> None:
        """Refuse a call of which something does not hold."""
        if not holds:
            raise Inexpressible(f"{self.name} {trouble}")


def flat(argument: Any) -> Iterable[Any]:
    """Yield the single arguments of nested lists."""
    if isinstance(argument, tuple | list):
        for one in cast("Iterable[Any]", argument):
            yield from flat(one)
    else:
        yield argument
