"""What is known of a network's inputs, as plain values. Taken on trust; the server checks that it can be true."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ellq.v1 import compression_pb2 as pb
from ellq_client.errors import InvalidNetwork

Values: TypeAlias = Any
"""A number, or anything that numpy takes for an array of numbers."""


@dataclass(frozen=True)
class Box:
    """Bounds of each input value: a single entry for all, or one for each in row-major order."""

    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class InputKnowledge:
    """Whatever is given leads to certificates of its own."""

    box: Box | None = None
    """Every input lies in this box."""
    l2_radius: float | None = None
    """The l_2 norm of every input is at most this. Above 0."""
    margins: tuple[float, ...] = ()
    """How far the largest output of the original network lies above the second largest, sample by sample; at most 262 144.

    For the share of unchanged classes under moments they must be those of the very samples that the moments are of.
    """

    def to_proto(self) -> pb.InputKnowledge:
        """Return the message."""
        box = None if self.box is None else pb.Box(low=self.box.low, high=self.box.high)
        return pb.InputKnowledge(box=box, l2_radius=self.l2_radius, margins=self.margins)

    @classmethod
    def from_proto(cls, message: pb.InputKnowledge) -> "InputKnowledge":
        """Return what the message tells."""
        return cls(
            box=Box(tuple(message.box.low), tuple(message.box.high)) if message.HasField("box") else None,
            l2_radius=message.l2_radius if message.HasField("l2_radius") else None,
            margins=tuple(message.margins),
        )


def box_of(bounds: tuple[Values, Values]) -> Box:
    """Return the box between two numbers or two arrays. Errors: InvalidNetwork when these are no two bounds."""
    try:
        low, high = bounds
    except (TypeError, ValueError) as error:
        raise InvalidNetwork(f"a box is (low, high), got {bounds!r}", field="network.inputs.box") from error
    return Box(numbers_of(low, "box.low"), numbers_of(high, "box.high"))


def numbers_of(values: Values | Iterable[float], where: str) -> tuple[float, ...]:
    """Return the numbers of an array in row-major order. Errors: InvalidNetwork when there is something else."""
    try:
        return tuple(np.asarray(values, np.float64).reshape(-1).tolist())
    except (TypeError, ValueError) as error:
        raise InvalidNetwork(f"{where} takes numbers: {error}", field=f"network.inputs.{where}") from error
