"""How bytes are cut into the data frames of an upload."""

from collections.abc import Iterable, Iterator

from ellq.v1.frames import Data

FRAME_BYTES = 2 << 20
"""Length of a data frame: below gRPC's limit of 4 MiB a message, far above what a message costs."""


def framed(views: Iterable[memoryview]) -> Iterator[Data]:
    """Yield the bytes of all views in frames; small views share them, so that a million are not as many messages.

    Every frame but the last has FRAME_BYTES. Only what shares a frame is copied.
    """
    pending = bytearray()
    for view in views:
        start = 0
        if pending:
            start = FRAME_BYTES - len(pending)
            pending += view[:start]
            if len(pending) == FRAME_BYTES:
                yield bytes(pending)
                pending.clear()
        while len(view) - start >= FRAME_BYTES:
            yield view[start : start + FRAME_BYTES]
            start += FRAME_BYTES
        pending += view[start:]
    if pending:
        yield bytes(pending)
