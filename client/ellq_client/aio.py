"""The client for asyncio programs."""

import asyncio
import os
import weakref
from asyncio import sleep
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, Unpack

import grpc
import grpc.aio

from ellq_client import conversations
from ellq_client.actions import Action, Deliver, Dialogue, Event, Method, Open, Receive, Upload
from ellq_client.channels import ServerAddress, open_async_channel, open_methods, server_address
from ellq_client.embedded import start_server
from ellq_client.errors import RemoteError
from ellq_client.folders import calls as folder_calls
from ellq_client.frames import RequestFrame
from ellq_client.refusals import read_refusal
from ellq_client.requests import AnalyzeOptions, CompressOptions, read_options
from ellq_client.results import Analysis, Compression
from ellq_client.retrying import Patience
from ellq_client.sources import WeightSource
from ellq_client.tls import Tls
from ellq_client.values import Capabilities, TensorReport

Result = TypeVar("Result")


class AsyncClient:
    """Client for asyncio programs: the same calls, awaited. Belongs to one event loop."""

    def __init__(
        self, target: str | None = None, *, tls: Tls | None = None, timeout_seconds: float = 600.0, max_attempts: int = 4
    ) -> None:
        """Take what Client takes."""
        self._patience = Patience(timeout_seconds=timeout_seconds, max_attempts=max_attempts)
        self._connection = _Connection(server_address(target, tls))

    def analyze(self, source: WeightSource, **options: Unpack[AnalyzeOptions]) -> "AsyncRun[Analysis]":
        """Measure the weights; see Client.analyze."""
        return AsyncRun(folder_calls.analyze(source, *read_options(**options), self._patience), self._connection)

    def compress(
        self, source: WeightSource, output: str | os.PathLike[str] | None = None, **options: Unpack[CompressOptions]
    ) -> "AsyncRun[Compression]":
        """Compress the weights; see Client.compress."""
        place = None if output is None else Path(output)
        return AsyncRun(folder_calls.compress(source, place, *read_options(**options), self._patience), self._connection)

    async def capabilities(self) -> Capabilities:
        """Return what the server can do and what it refuses. Errors: EllqError."""
        return await AsyncRun(conversations.capabilities(self._patience), self._connection).result()

    async def close(self) -> None:
        """Close every run, hang up, and end the server in this process if there is one."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncRun(Generic[Result]):
    """A call under way: iterate for the reports as they arrive, then await the result. Belongs to one task.

    Closing it, leaving it as a context manager, or cancelling the task cancels the call and removes unfinished output.
    """

    def __init__(self, conversation: Generator[Action, Event, Result], connection: "_Connection") -> None:
        self._dialogue = Dialogue(conversation)
        self._connection = connection
        self._call: Any = None
        connection.runs.add(self)
        self._frames: AsyncIterator[Any]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TensorReport:
        report = await self._advance()
        if report is None:
            raise StopAsyncIteration
        return report

    async def result(self) -> Result:
        """Return the result, after whatever reports have not been iterated over."""
        while await self._advance() is not None:
            pass
        return self._dialogue.result()

    async def close(self) -> None:
        """Cancel what is not finished; harmless when all is."""
        if self._call is not None:
            self._call.cancel()
        self._dialogue.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _advance(self) -> TensorReport | None:
        """Perform actions until a report is there; None: until the result is."""
        event: Event | RemoteError = None
        try:
            while (action := await _step_in_thread(self._dialogue, event)) is not None:
                if isinstance(action, Deliver):
                    return action.report
                event = await self._perform(action)
        except BaseException:
            await self.close()
            raise
        return None

    async def _perform(self, action: Action) -> Event | RemoteError:
        if isinstance(action, Open):
            self._call = await self._connection.open(action.method, _frames(action.upload), timeout=action.timeout_seconds)
            self._frames = aiter(self._call)
        elif isinstance(action, Receive):
            try:
                return await anext(self._frames, None)
            except grpc.RpcError as error:
                return read_refusal(error, self._connection.server)
        elif not isinstance(action, Deliver):
            await sleep(action.seconds)
        return None


class _Connection:
    """A channel that is opened at its first use, and the server behind it when that is ours."""

    def __init__(self, server: ServerAddress) -> None:
        self.runs: weakref.WeakSet[AsyncRun[Any]] = weakref.WeakSet()
        self.server = server
        self._lock = asyncio.Lock()
        self._channel: grpc.aio.Channel | None = None
        self._methods: dict[Method, Any] = {}
        self._stop_server: weakref.finalize[[], Any] | None = None
        self._closed = False

    async def open(self, method: Method, frames: AsyncIterator[RequestFrame], *, timeout: float) -> Any:
        """Start a call."""
        async with self._lock:
            if self._closed:
                raise RuntimeError("the client is closed")
            if self._channel is None:
                self._channel = open_async_channel(await self._reach(), self.server.tls)
                self._methods = open_methods(self._channel)
        return self._methods[method](frames, timeout=timeout)

    async def close(self) -> None:
        """Close the runs, the channel, then the server; harmless when repeated."""
        for run in list(self.runs):
            await run.close()
        async with self._lock:
            self._closed = True
            if self._channel is not None:
                await self._channel.close()
            if self._stop_server is not None:
                await asyncio.to_thread(self._stop_server)

    async def _reach(self) -> str:
        if self.server.uri is not None:
            return self.server.uri
        server = await asyncio.to_thread(start_server)
        self._stop_server = weakref.finalize(self, server.stop)
        return server.address


async def _step_in_thread(dialogue: Dialogue[Any], event: Event | RemoteError) -> Action | None:
    """Step the dialogue off the event loop, because it reads and writes files.

    A step that has begun is waited for even when the task is cancelled: a generator cannot be closed while it runs.
    """
    step = asyncio.ensure_future(asyncio.to_thread(dialogue.step, event))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait([step])
        step.exception()
        raise


async def _frames(upload: Upload) -> AsyncIterator[RequestFrame]:
    frames = iter(upload)
    while (frame := await asyncio.to_thread(next, frames, None)) is not None:
        yield frame
