"""The client for asyncio programs."""

import asyncio
from asyncio import sleep
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import aclosing
from types import AsyncGeneratorType
from typing import Generic, Self, TypeVar, Unpack, cast

import grpc

from ellq_client import conversations
from ellq_client.actions import Action, Deliver, Dialogue, Event, Open, Receive, Together, Upload, Wait
from ellq_client.async_connections import AsyncCall, AsyncConnection
from ellq_client.async_teams import AsyncTeam
from ellq_client.channels import server_address, streams_to
from ellq_client.errors import EllqError, RemoteError, Unavailable
from ellq_client.folders import calls as folder_calls
from ellq_client.frames import RequestFrame
from ellq_client.refusals import read_refusal
from ellq_client.requests import AnalyzeOptions, CompressOptions, read_options
from ellq_client.results import Analysis, Compression
from ellq_client.retrying import Patience
from ellq_client.sources import WeightSource
from ellq_client.tls import Tls
from ellq_client.uris import AnyPath, place_of
from ellq_client.values import Capabilities, TensorReport

Result = TypeVar("Result")

_LOST = "Internal error from Core"


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
        self._connection = AsyncConnection(server_address(target, tls))
        self._streams = streams_to(self._connection.server, streams)

    def analyze(self, source: WeightSource, **options: Unpack[AnalyzeOptions]) -> "AsyncRun[Analysis]":
        """Measure the weights; see Client.analyze."""
        return AsyncRun(folder_calls.analyze(source, *read_options(**options), self._patience), self._connection)

    def compress(
        self,
        source: WeightSource,
        output: AnyPath | None = None,
        *,
        replace_output: bool = True,
        **options: Unpack[CompressOptions],
    ) -> "AsyncRun[Compression]":
        """Compress the weights; see Client.compress."""
        place = None if output is None else place_of(output)
        conversation = folder_calls.compress(
            source, place, *read_options(**options), self._patience, streams=self._streams, replace_output=replace_output
        )
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

    def __init__(self, conversation: Generator[Action, Event, Result], connection: AsyncConnection) -> None:
        self._dialogue = Dialogue(conversation)
        self._connection = connection
        self._reports = cast("AsyncGeneratorType[TensorReport, None]", self._drive())
        self._stopped = False
        self._call: AsyncCall | None = None
        self._team: AsyncTeam | None = None
        connection.runs.add(self)
        self._frames: AsyncIterator[Event]

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
        """Cancel what is not finished; harmless when all is. What begins after this is cancelled by whoever begins it."""
        self._stopped = True
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
        while (action := await _step_in_thread(self._dialogue.step, event)) is not None:
            event = None
            if isinstance(action, Deliver):
                yield action.report
            elif isinstance(action, Together):
                self._team = team = self._team_of(action)
                try:
                    async with team, aclosing(team.reports()) as reports:
                        async for report in reports:
                            yield report
                    event = team.results()
                except EllqError as error:
                    event = error
            else:
                event = await self._perform(action)

    def _team_of(self, action: Together) -> AsyncTeam:
        runs = [AsyncRun(conversation, self._connection) for conversation in action.conversations]
        self._connection.runs.difference_update(runs)  # they are closed by their team
        team = AsyncTeam(runs, width=action.width)
        if self._stopped:
            team.stop()
        return team

    async def _perform(self, action: Action) -> Event | RemoteError:
        if isinstance(action, Open):
            self._call = await self._connection.open(action.method, _frames(action.upload), timeout=action.timeout_seconds)
            self._frames = aiter(self._call)
            if self._stopped:
                self._call.cancel()
        elif isinstance(action, Receive):
            try:
                return await anext(self._frames, None)
            except grpc.RpcError as error:
                return _found_again(read_refusal(error, self._connection.server))
        elif isinstance(action, Wait):
            await sleep(action.seconds)
        return None


def _found_again(refusal: RemoteError) -> RemoteError:
    """Return what may be tried again where gRPC lost the reason: its asyncio does when a call ends amid the upload.

    https://github.com/grpc/grpc/issues/36066
    """
    if str(refusal) != _LOST:
        return refusal
    lost = Unavailable("the server ended the call before it had all weights, and gRPC lost why")
    lost.__cause__ = refusal.__cause__
    return lost


async def _step_in_thread(
    take: Callable[[Event | BaseException], Action | None], event: Event | BaseException
) -> Action | None:
    """Take a step of a dialogue off the event loop, because it reads and writes files.

    A step that has begun is waited for even when the task is cancelled: a generator cannot be closed while it runs.
    """
    step = asyncio.ensure_future(asyncio.to_thread(take, event))
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
