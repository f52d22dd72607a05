"""What goes along with a request but is too large to repeat in a report: the network and the moments.

A report has their digests.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol, TypeAlias

from ellq.v1 import compression_pb2 as pb


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


AnyNetwork: TypeAlias = DescribesNetwork | pb.Network
AnyMoments: TypeAlias = HasFrames | Iterable[pb.Moments]


@dataclass(frozen=True)
class Enclosures:
    """The messages that a call sends beside its options and its weights."""

    network: pb.Network | None = None
    moments: Callable[[], Iterable[pb.Moments]] = tuple
    """Gives the frames from the first one, because a repeated call sends them again."""
    network_sha256: str | None = None
    moments_sha256: str | None = None


def enclose(network: AnyNetwork | None, moments: AnyMoments | None) -> Enclosures:
    """Return what is to be sent along. An iterable that can be taken only once is kept in memory."""
    message = network if network is None or isinstance(network, pb.Network) else network.to_proto()
    frames = _repeatable(moments)
    return Enclosures(
        network=message,
        moments=frames,
        network_sha256=None if message is None else network_digest(message),
        moments_sha256=None if moments is None else moments_digest(frames()),
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


def _repeatable(moments: AnyMoments | None) -> Callable[[], Iterable[pb.Moments]]:
    if moments is None:
        return tuple
    if isinstance(moments, Iterable):
        kept = tuple(moments) if isinstance(moments, Iterator) else moments
        return lambda: kept
    return moments.to_frames
