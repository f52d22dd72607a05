"""The request body as a file that is read once, forwards, and may be cut short or too long."""

import time
from collections.abc import Iterator

from ellq.v1.frames import Data
from ellq_server.buffers import Buffers
from ellq_server.refusals import TrailingBytes, TruncatedStream


class ByteStream:
    """Reads exact lengths from chunks of any length. Lives as long as one call."""

    def __init__(self, chunks: Iterator[Data]) -> None:
        """Take the `data` frames of one call; the iterator may block."""
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._buffers = Buffers()
        self.position_bytes = 0
        self.waited_seconds = 0.0

    def read(self, length: int, *, what: str) -> memoryview:
        """Return the next bytes, as a buffer that the caller owns and may write to.

        Errors: TruncatedStream, saying in the middle of what the stream ended.
        """
        # a claim of many gigabytes followed by nothing costs nothing: see Buffers
        buffer = self._buffers.take(length)
        filled = 0
        while filled < length:
            if not self._rest and not self._next_chunk():
                held = f"{filled} of {length} bytes of {what}"
                raise TruncatedStream(f"the stream ended at byte {self.position_bytes}, with {held}", field="data")
            taken = self._rest[: length - filled]
            buffer[filled : filled + len(taken)] = taken
            filled += len(taken)
            self._rest = self._rest[len(taken) :]
            self.position_bytes += len(taken)
        return buffer

    def expect_end(self) -> None:
        """Raise TrailingBytes when anything follows."""
        try:
            more = self._rest or self._next_chunk()
        except TruncatedStream as error:
            raise TruncatedStream(
                f"all tensors came, but the stream was not closed after them: {error}", field="data"
            ) from error
        if more:
            message = f"the stream goes on after its last tensor, which ends at byte {self.position_bytes}"
            raise TrailingBytes(message, field="data")

    def _next_chunk(self) -> bool:
        """Wait for the next chunk that is not empty; tell whether there was one."""
        started = time.perf_counter()
        try:
            for chunk in self._chunks:
                if chunk:
                    self._rest = memoryview(chunk)
                    return True
            return False
        finally:
            self.waited_seconds += time.perf_counter() - started
