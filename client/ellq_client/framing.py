"""How bytes are cut into the data frames of an upload."""

from collections.abc import Iterable, Iterator

from ellq.v1.frames import Data

FRAME_BYTES = 2 << 20
"""Length of a data frame: below gRPC's limit of 4 MiB a message, far above what a message costs."""

BLOCK_BYTES = 1 << 18
"""Length of what is read of a file to be worked on: it stays in the cache until that is done."""


def framed(views: Iterable[memoryview], frame_bytes: int = FRAME_BYTES) -> Iterator[Data]:
    """Yield the bytes of all views in frames; small views share them, so that a million are not as many messages.

    Every frame but the last has `frame_bytes`. Only what shares a frame is copied.
    """
    pending = bytearray()
    for view in views:
        start = 0
        if pending:
            start = frame_bytes - len(pending)
            pending += view[:start]
            if len(pending) == frame_bytes:
                yield bytes(pending)
                pending.clear()
        while len(view) - start >= frame_bytes:
            yield view[start : start + frame_bytes]
            start += frame_bytes
        pending += view[start:]
    if pending:
        yield bytes(pending)
