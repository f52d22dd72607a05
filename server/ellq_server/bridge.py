"""Between the event loop, where frames come and go, and the worker thread, where a call computes.

Two bounded queues: a slow client holds back the worker, a slow worker holds back the client, and memory stays small. When
either side is gone both queues shut down, and the other side ends at its next step; a long computation asks in between.
"""

import asyncio
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from threading import Event
from typing import Generic, TypeVar

import janus

from ellq.v1.frames import Data
from ellq_math.interruption import interruptible
from ellq_server.refusals import TruncatedStream

FRAMES_IN_FLIGHT = 4
"""Frames that wait in each direction: enough to overlap receive, compute and send."""

Frame = TypeVar("Frame")


class _End(Generic[Frame]):
    """The last thing in a queue: why it ended, None for as it should."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


async def run_in_thread(
    work: Callable[[Iterator[Data]], Iterator[Frame]],
    chunks: AsyncIterator[Data],
    *,
    threads: Executor,
    idle_seconds: float,
) -> AsyncGenerator[Frame]:
    """Yield what `work` yields in a worker thread when it is fed with `chunks`.

    Errors: whatever `work` or `chunks` raise; TruncatedStream when the client sends nothing for `idle_seconds` while the
    worker waits for it.
    """
    inlet: janus.Queue[Data | _End[Data]] = janus.Queue(FRAMES_IN_FLIGHT)
    outlet: janus.Queue[Frame | _End[Frame]] = janus.Queue(FRAMES_IN_FLIGHT)
    pump = asyncio.create_task(_pump(chunks, inlet.async_q))
    gone = Event()
    loop = asyncio.get_running_loop()
    worker = loop.run_in_executor(threads, _work, work, inlet.sync_q, outlet.sync_q, idle_seconds, gone)
    try:
        while not isinstance(frame := await outlet.async_q.get(), _End):
            yield frame
        error = frame.error
        del frame  # or error and traceback would hold each other through this frame, until the collector comes
        try:
            if error is not None:
                raise error
        finally:
            del error
    finally:
        gone.set()
        pump.cancel()
        inlet.shutdown(immediate=True)
        outlet.shutdown(immediate=True)
        # the thread still holds memory: the call is not over before it is
        await asyncio.wait([pump, worker])
        await inlet.wait_closed()
        await outlet.wait_closed()


async def _pump(chunks: AsyncIterator[Data], inlet: janus.AsyncQueue[Data | _End[Data]]) -> None:
    error: BaseException | None = None
    try:
        async for chunk in chunks:
            await inlet.put(chunk)
    except janus.AsyncQueueShutDown:
        return
    except Exception as raised:
        error = raised
    await inlet.put(_End(error))


def _work(
    work: Callable[[Iterator[Data]], Iterator[Frame]],
    inlet: janus.SyncQueue[Data | _End[Data]],
    outlet: janus.SyncQueue[Frame | _End[Frame]],
    idle_seconds: float,
    gone: Event,
) -> None:
    error: BaseException | None = None
    try:
        with interruptible(lambda: not gone.is_set()):
            for frame in work(_chunks(inlet, idle_seconds)):
                outlet.put(frame)
    except janus.SyncQueueShutDown:
        return  # the call is gone
    except BaseException as raised:
        # the traceback and this frame hold each other, and through them whole tensors, until the collector comes
        traceback.clear_frames(raised.__traceback__)
        error = raised
    try:
        with suppress(janus.SyncQueueShutDown):
            outlet.put(_End(error))
    finally:
        del error


def _chunks(inlet: janus.SyncQueue[Data | _End[Data]], idle_seconds: float) -> Iterator[Data]:
    while True:
        try:
            chunk = inlet.get(timeout=idle_seconds)
        except janus.SyncQueueEmpty as error:
            raise TruncatedStream(f"the client sent nothing for {idle_seconds:g} seconds", field="data") from error
        if isinstance(chunk, _End):
            if chunk.error is not None:
                raise chunk.error
            return
        yield chunk
