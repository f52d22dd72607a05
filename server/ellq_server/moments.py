"""Second moments as they arrive: frames of many tensors, matrices in pieces, put together and held against the tensors."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import Data
from ellq_math.network.knowledge import Moments
from ellq_server.refusals import InvalidRequest, TooLarge, shorten


@dataclass(frozen=True)
class ReceivedMoments:
    """What was sent for one tensor: numbers whose fit nobody has checked yet."""

    second_moments: np.ndarray
    """(any,) float64."""
    matrix: Data
    """Empty: none was sent."""


FRAME_OVERHEAD_BYTES = 64
"""What a frame counts beside its contents, so that empty ones come to an end, too."""

NO_MOMENTS: Mapping[str, ReceivedMoments] = {}


@dataclass
class MomentsReader:
    """Gathers the frames of one call. `most_bytes` is what a call may send in all."""

    most_bytes: int
    received_bytes: int = 0
    _second: dict[str, np.ndarray] = field(default_factory=dict)
    _matrices: dict[str, bytearray] = field(default_factory=dict)

    def add(self, frame: pb.Moments) -> int:
        """Take one frame and return its size in bytes.

        Errors: InvalidRequest (INVALID_MOMENTS); TooLarge (MOMENTS_TOO_LARGE).
        """
        name, size = frame.tensor, frame.ByteSize() + FRAME_OVERHEAD_BYTES
        self.received_bytes += size
        if self.received_bytes > self.most_bytes:
            message = f"moments of more than {self.most_bytes} bytes, which is what this server takes"
            raise TooLarge(f"{message}; leave out the largest matrices", reason="MOMENTS_TOO_LARGE", field="moments")
        quoted = shorten(repr(name))
        if name not in self._second:
            if not frame.second_moments:
                raise invalid_moments(f"the first moments of tensor {quoted} have no second_moments, which they need")
            self._second[name] = np.array(frame.second_moments)
        elif frame.second_moments:
            raise invalid_moments(f"tensor {quoted} has second_moments twice; only its first frame has them")
        if frame.matrix:
            self._matrices.setdefault(name, bytearray()).extend(frame.matrix)
        return size

    def done(self) -> dict[str, ReceivedMoments]:
        """Return what came, by tensor."""
        matrices = {name: memoryview(matrix).toreadonly() for name, matrix in self._matrices.items()}
        return {name: ReceivedMoments(second, matrices.get(name, b"")) for name, second in self._second.items()}


def moments_of(received: ReceivedMoments, name: str, *, fan_in: int) -> Moments:
    """Return the moments in shape for a tensor; how many groups there are follows from their number.

    Errors: InvalidRequest (INVALID_MOMENTS) when the numbers cannot be those of such a tensor.
    """
    count, quoted = len(received.second_moments), shorten(repr(name))
    if count % fan_in:
        message = f"tensor {quoted} has {count} second moments; allowed is {fan_in}, one for each weight of a neuron"
        raise invalid_moments(f"{message} (times the groups of a convolution)")
    groups = count // fan_in
    if not received.matrix:
        return Moments(name, received.second_moments)
    needed = 8 * groups * fan_in * fan_in
    if len(received.matrix) != needed:
        got = f"tensor {quoted} has a matrix of {len(received.matrix)} bytes"
        raise invalid_moments(f"{got}; allowed is {needed}: {groups} x {fan_in} x {fan_in} float64")
    matrix = np.frombuffer(received.matrix, "<f8").reshape(groups, fan_in, fan_in)
    return Moments(name, received.second_moments, matrix)


def digest_of(moments: Mapping[str, ReceivedMoments]) -> bytes:
    """Return a digest of all moments, whatever order they came in; empty for none."""
    if not moments:
        return b""
    found = hashlib.sha256()
    for name in sorted(moments):
        one = moments[name]
        parts: Sequence[Data] = (name.encode(), one.second_moments.tobytes(), one.matrix)
        for part in parts:
            found.update(len(part).to_bytes(8, "little"))
            found.update(part)
    return found.digest()


def invalid_moments(message: str) -> InvalidRequest:
    """Return the refusal of moments."""
    return InvalidRequest(message, reason="INVALID_MOMENTS", field="moments")
