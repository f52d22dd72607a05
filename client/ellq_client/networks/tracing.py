"""What deriving a network from a torch module and from an ONNX model have in common. Neither is imported here."""

from dataclasses import dataclass
from typing import TypeAlias

from ellq_client.networks.operations import Operation

Shape: TypeAlias = tuple[int, ...]

Operations: TypeAlias = tuple[Operation, ...]
"""One after the other; only the first may take several nodes."""


class Inexpressible(Exception):
    """The contract has no operation for a call; the message says what it is."""


@dataclass(frozen=True)
class Value:
    """A tensor that flows: the node that has it, and the shape of one sample."""

    node: str
    shape: Shape | None
    """None: nobody knows it, or these are several tensors, or one that is not split by samples."""
