"""Memory for one tensor after the other: fresh pages cost more than filling them again."""

import weakref
from collections import deque

import numpy as np

LEAST_BYTES = 1 << 20
"""Below this the allocator reuses memory by itself."""


class Buffers:
    """Hands out buffers and takes one back, as soon as nobody refers to it any more. Lives as long as one call."""

    def __init__(self) -> None:
        self._free: deque[np.ndarray] = deque(maxlen=1)  # one, which is taken before anything new is made

    def take(self, length: int) -> memoryview:
        """Return room for that many bytes of any content; new pages come only as they are written to."""
        if length < LEAST_BYTES:
            return np.empty(length, np.uint8).data
        room = self._last_freed()
        if room is None or len(room) < length:
            del room  # before the next is made
            room = np.empty(length, np.uint8)
        view = room[:length]
        weakref.finalize(view, self._free.append, room).atexit = False
        return view.data

    def _last_freed(self) -> np.ndarray | None:
        try:
            return self._free.pop()
        except IndexError:
            return None
