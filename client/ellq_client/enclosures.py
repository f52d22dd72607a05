"""What goes along with a request but is too large to repeat in a report: the network and the moments.

A report has their digests.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol, TypeAlias, cast

from ellq.v1 import compression_pb2 as pb
from ellq_client.errors import InvalidNetwork
from ellq_client.uris import AnyPath


class DescribesNetwork(Protocol):
    """A network as `ellq_client.networks` describes it."""

    def to_proto(self) -> pb.Network:
        """Return the message."""
        ...


class HasFrames(Protocol):
    """Moments as a calibration measured them."""

    def to_frames(self) -> Iterable[pb.Moments]:
        """Return the messages, from the first one, as often as it is asked."""
        ...


AnyNetwork: TypeAlias = DescribesNetwork | pb.Network | AnyPath
"""A path is that of a file that `Network.save` wrote."""
AnyMoments: TypeAlias = HasFrames | Iterable[pb.Moments] | AnyPath
"""A path is that of a file that `Calibration.save` wrote."""


@dataclass(frozen=True)
class Enclosures:
    """The messages that a call sends beside its options and its weights."""

    network: pb.Network | None = None
    moments: Callable[[], Iterable[pb.Moments]] = tuple
    """Gives the frames from the first one, because a repeated call sends them again."""
    network_sha256: str | None = None
    moments_sha256: str | None = None
    samples: int | None = None
    """How many samples the moments are of; None: unknown."""

    def check_margins(self) -> None:
        """Refuse margins that cannot be those of the samples of the moments. Errors: InvalidNetwork."""
        margins = 0 if self.network is None else len(self.network.inputs.margins)
        if margins and self.samples is not None and margins != self.samples:
            message = (
                f"there are {margins} margins, but the moments are of {self.samples} samples; both must be of the same ones"
            )
            raise InvalidNetwork(message, field="network.inputs.margins")


def enclose(network: AnyNetwork | None, moments: AnyMoments | None) -> Enclosures:
    """Return what is to be sent along. An iterable that can be taken only once is kept in memory.

    Errors: EllqError for files that cannot be read; TypeError for what is neither.
    """
    message = _message(network)
    if isinstance(moments, str | os.PathLike):
        from ellq_client.networks import Calibration  # networks take their time to load

        moments = Calibration.load(moments)
    frames = _repeatable(moments)
    return Enclosures(
        network=message,
        moments=frames,
        network_sha256=None if message is None else network_digest(message),
        moments_sha256=None if moments is None else moments_digest(frames()),
        samples=getattr(moments, "samples", None),
    )


def network_digest(network: pb.Network) -> str:
    """Return the SHA-256 of a network and what it says of its inputs, in hexadecimal."""
    return sha256(network.SerializeToString(deterministic=True)).hexdigest()


def moments_digest(frames: Iterable[pb.Moments]) -> str:
    """Return the SHA-256 of moments, whatever their order and however their matrices are cut into frames."""
    found: dict[str, Any] = {}
    for frame in frames:
        digest = found.setdefault(frame.tensor, sha256())
        if frame.second_moments:
            digest.update(len(frame.second_moments).to_bytes(8, "little"))
            digest.update(pb.Moments(second_moments=frame.second_moments).SerializeToString())
        digest.update(frame.matrix)
    whole = sha256()
    for name in sorted(found):
        whole.update(len(name.encode()).to_bytes(8, "little") + name.encode() + found[name].digest())
    return whole.hexdigest()


def _message(network: AnyNetwork | None) -> pb.Network | None:
    if network is None or isinstance(network, pb.Network):
        return network
    if isinstance(network, str | os.PathLike):
        from ellq_client.networks import Network  # networks take their time to load

        return Network.load(network).to_proto()
    if not hasattr(network, "to_proto"):  # callers without a type checker
        raise TypeError(f"network is a Network or the path of a saved one, got {type(network).__name__}")
    return network.to_proto()


def _repeatable(moments: HasFrames | Iterable[pb.Moments] | None) -> Callable[[], Iterable[pb.Moments]]:
    if moments is None:
        return tuple
    frames = getattr(moments, "to_frames", None)
    if frames is not None:
        return frames
    if isinstance(moments, Mapping) or not isinstance(moments, Iterable):  # callers without a type checker
        given = cast("Any", moments)
        raise TypeError(f"moments are a Calibration or the path of a saved one, got {type(given).__name__}")
    kept = tuple(moments) if isinstance(moments, Iterator) else moments
    return lambda: kept
