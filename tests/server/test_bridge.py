"""A call that is gone ends its worker, even one that computes and neither takes nor gives a frame."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from ellq.v1.frames import Data
from ellq_math.interruption import Interrupted, end_if_unwanted
from ellq_server.ahead import ahead
from ellq_server.bridge import run_in_thread


async def no_frames() -> AsyncIterator[Data]:
    await asyncio.Event().wait()
    yield memoryview(b"")


@pytest.mark.parametrize("looks_ahead", [False, True])
async def test_a_computation_without_frames_ends_with_its_call(looks_ahead: bool) -> None:
    computing, interrupted = Event(), Event()

    def computation() -> Iterator[Data]:
        computing.set()
        try:
            while not interrupted.wait(timeout=0.01):
                end_if_unwanted()
        except Interrupted:
            interrupted.set()
            raise
        yield memoryview(b"never")

    def work(_: Iterator[Data]) -> Iterator[Data]:
        return ahead(one for one in computation()) if looks_ahead else computation()

    with ThreadPoolExecutor(1) as threads:
        frames = run_in_thread(work, no_frames(), threads=threads, idle_seconds=60)
        waiting = asyncio.ensure_future(anext(frames))
        try:
            assert await asyncio.to_thread(computing.wait, 10)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(waiting, 10)
            assert interrupted.is_set()
        finally:
            interrupted.set()  # or a worker that was not interrupted would compute for ever
            await frames.aclose()
