"""The client for asyncio programs."""

import asyncio
import os
import weakref
from asyncio import sleep
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from types import AsyncGeneratorType
from typing import Any, Generic, Self, TypeVar, Unpack, cast

import grpc
import grpc.aio

from ellq_client import conversations
from ellq_client.actions import Action, Deliver, Dialogue, Event, Method, Open, Receive, Together, Upload, Wait
from ellq_client.async_teams import AsyncTeam
from ellq_client.channels import ServerAddress, open_async_channel, open_methods, server_address, streams_to
from ellq_client.embedded import start_server
from ellq_client.errors import EllqError, RemoteError
from ellq_client.folders import calls as folder_calls
from ellq_client.frames import RequestFrame
from ellq_client.refusals import read_refusal
from ellq_client.requests import AnalyzeOptions, CompressOptions, read_options
from ellq_client.results import Analysis, Compression
from ellq_client.retrying import Patience
from ellq_client.sources import WeightSource
from ellq_client.tls import Tls
from ellq_client.uris import place_of
from ellq_client.values import Capabilities, TensorReport

Result = TypeVar("Result")


class AsyncClient:
    """Client for asyncio programs: the same calls, awaited. Belongs to one event loop."""

    def __init__(
        self,
        target: str | None = None,
        *,
        tls: Tls | None = None,
        timeout_seconds: float = 600.0,
        max_attempts: int = 4,
        streams: int | None = None,
    ) -> None:
        """Take what Client takes."""
        self._patience = Patience(timeout_seconds=timeout_seconds, max_attempts=max_attempts)
        self._connection = _Connection(server_address(target, tls))
        self._streams = streams_to(self._connection.server, streams)

    def analyze(self, source: WeightSource, **options: Unpack[AnalyzeOptions]) -> "AsyncRun[Analysis]":
        """Measure the weights; see Client.analyze."""
        return AsyncRun(folder_calls.analyze(source, *read_options(**options), self._patience), self._connection)

    def compress(
        self, source: WeightSource, output: str | os.PathLike[str] | None = None, **options: Unpack[CompressOptions]
    ) -> "AsyncRun[Compression]":
        """Compress the weights; see Client.compress."""
        place = None if output is None else place_of(output)
        conversation = folder_calls.compress(source, place, *read_options(**options), self._patience, streams=self._streams)
        return AsyncRun(conversation, self._connection)

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
        self._reports = cast("AsyncGeneratorType[TensorReport, None]", self._drive())
        self._call: Any = None
        self._team: AsyncTeam | None = None
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
        if self._team is not None:
            await self._team.end()  # before the conversation does, which clears away what the team writes
        if not self._reports.ag_running:  # else another task is at it, and finds it cancelled
            await self._reports.aclose()
        self._dialogue.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _advance(self) -> TensorReport | None:
        """Return the next report; None: the result is there."""
        try:
            return await anext(self._reports, None)
        except BaseException:
            await self.close()
            raise

    async def _drive(self) -> AsyncGenerator[TensorReport]:
        """Perform actions, and yield the reports that they bring."""
        event: Event | BaseException = None
        while (action := await _step_in_thread(self._dialogue, event)) is not None:
            event = None
            if isinstance(action, Deliver):
                yield action.report
            elif isinstance(action, Together):
                runs = [AsyncRun(conversation, self._connection) for conversation in action.conversations]
                self._connection.runs.difference_update(runs)  # they are closed with their team
                try:
                    async with AsyncTeam(runs, width=action.width) as team:
                        self._team = team
                        async for report in team.reports():
                            yield report
                    event = team.results()
                except EllqError as error:
                    event = error
            else:
                event = await self._perform(action)

    async def _perform(self, action: Action) -> Event | RemoteError:
        if isinstance(action, Open):
            self._call = await self._connection.open(action.method, _frames(action.upload), timeout=action.timeout_seconds)
            self._frames = aiter(self._call)
        elif isinstance(action, Receive):
            try:
                return await anext(self._frames, None)
            except grpc.RpcError as error:
                return read_refusal(error, self._connection.server)
        elif isinstance(action, Wait):
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


async def _step_in_thread(dialogue: Dialogue[Any], event: Event | BaseException) -> Action | None:
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
