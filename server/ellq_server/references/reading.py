"""An object as a stream: several ranges under way at a time, handed on in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable

from ellq.v1.frames import Data
from ellq_server.references.contract import Readable

PIECE_BYTES = 2 << 20
"""Bytes of one range."""

PIECES_AHEAD = 6
"""Ranges under way. With the frames that wait for the worker they are as much memory as the frames of a call that uploads."""


async def pieces_of(source: Readable, count: Callable[[int], None]) -> AsyncGenerator[Data]:
    """Yield all bytes of an object in order and tell `count` of each range. Errors: those of Readable.read."""
    waiting: deque[asyncio.Task[Data]] = deque()

    async def next_piece() -> Data:
        piece = await waiting[0]
        waiting.popleft()
        count(len(piece))
        return piece

    try:
        for begin in range(0, source.size_bytes, PIECE_BYTES):
            waiting.append(asyncio.ensure_future(source.read(begin, min(begin + PIECE_BYTES, source.size_bytes))))
            if len(waiting) == PIECES_AHEAD:
                yield await next_piece()
        while waiting:
            yield await next_piece()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
