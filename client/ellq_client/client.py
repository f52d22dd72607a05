"""The client for ordinary programs."""

import time
from collections.abc import Generator
from threading import Event as Flag
from threading import Lock
from typing import Generic, Self, TypeVar, Unpack

import grpc

from ellq_client import conversations
from ellq_client.actions import Action, Deliver, Dialogue, Event, Open, Receive, Together, Wait
from ellq_client.channels import server_address, streams_to
from ellq_client.connections import Call, Connection
from ellq_client.errors import EllqError, RemoteError
from ellq_client.folders import calls as folder_calls
from ellq_client.refusals import read_refusal
from ellq_client.requests import AnalyzeOptions, CompressOptions, read_options
from ellq_client.results import Analysis, Compression
from ellq_client.retrying import Patience
from ellq_client.sources import WeightSource
from ellq_client.teams import Team
from ellq_client.tls import Tls
from ellq_client.uris import AnyPath, place_of
from ellq_client.values import Capabilities, TensorReport

Result = TypeVar("Result")


class Client:
    """Analyses and compresses weights on an ellq server.

    Without a target the server is the one that ELLQ_SERVER names, else one in this process, started at the first call.
    Safe to share between threads; close it, or use it as a context manager.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        tls: Tls | None = None,
        timeout_seconds: float = 600.0,
        max_attempts: int = 4,
        streams: int | None = None,
    ) -> None:
        """Take "host:port" or a gRPC address; nothing is sent before the first call. Errors: ValueError.

        Without `tls` the environment says whether the server is reached by TLS (ELLQ_TLS, ELLQ_TLS_CA, ...).
        `timeout_seconds` covers everything that one call does; `max_attempts` is how often a busy or absent server is tried.
        `streams` is how many shards of a folder are under way at a time, over all replicas behind the address; it changes
        no byte of what comes out. Default: as many as the server's name has addresses, at most 8. Several may keep a server
        busy by themselves, so they ask it again until the time is over.
        """
        self._patience = Patience(timeout_seconds=timeout_seconds, max_attempts=max_attempts)
        self._connection = Connection(server_address(target, tls))
        self._streams = streams_to(self._connection.server, streams)

    def analyze(self, source: WeightSource, **options: Unpack[AnalyzeOptions]) -> "Run[Analysis]":
        """Measure the weights of a .safetensors file, a folder with shards, or arrays by name. Options: see AnalyzeOptions.

        The work begins with the first step of the run. Errors, then: EllqError.
        """
        return Run(folder_calls.analyze(source, *read_options(**options), self._patience), self._connection)

    def compress(
        self,
        source: WeightSource,
        output: AnyPath | None = None,
        *,
        replace_output: bool = True,
        **options: Unpack[CompressOptions],
    ) -> "Run[Compression]":
        """Compress the weights into a .safetensors file, or into arrays in memory when there is no output.

        An existing output, file or object, is replaced, in one instant, when the new one is whole; with `replace_output=False`
        it is refused before any work (OutputError; InvalidReference for a URI). A folder with shards is compressed into a new
        folder: the result is a FolderCompression, and the same call goes on with what an earlier one left unfinished. Options:
        see CompressOptions; `rule` is required. A URI for a source or an output, such as "s3://bucket/model.safetensors",
        is the server's to read or to write, if it may. The work begins with the first step of the run. Errors, then: EllqError.
        """
        place = None if output is None else place_of(output)
        conversation = folder_calls.compress(
            source, place, *read_options(**options), self._patience, streams=self._streams, replace_output=replace_output
        )
        return Run(conversation, self._connection)

    def capabilities(self) -> Capabilities:
        """Return what the server can do and what it refuses. Errors: EllqError."""
        return Run(conversations.capabilities(self._patience), self._connection).result()

    def close(self) -> None:
        """Close every run, hang up, and end the server in this process if there is one."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Run(Generic[Result]):
    """A call under way: iterate for the reports as they arrive, then ask for the result. Belongs to one thread.

    Closing it, or leaving it as a context manager, cancels what is not finished and removes unfinished output.
    """

    def __init__(self, conversation: Generator[Action, Event, Result], connection: Connection) -> None:
        self._dialogue = Dialogue(conversation)
        self._connection = connection
        self._reports = self._drive()
        self._driving = Lock()
        self._stopped = Flag()
        self._call: Call | None = None
        self._team: Team | None = None
        connection.runs.add(self)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> TensorReport:
        report = self._advance()
        if report is None:
            raise StopIteration
        return report

    def result(self) -> Result:
        """Return the result, after whatever reports have not been iterated over."""
        while self._advance() is not None:
            pass
        return self._dialogue.result()

    def close(self) -> None:
        """Cancel what is not finished; harmless when all is."""
        self._stop()
        if self._team is not None:
            self._team.end()  # before the conversation does, which clears away what the team writes
        if self._driving.acquire(blocking=False):  # else another thread is at it, and finds it cancelled
            try:
                self._reports.close()
            finally:
                self._driving.release()
        self._dialogue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stop(self) -> None:
        """Cancel what is under way, from any thread. What begins after this is cancelled by whoever begins it."""
        self._stopped.set()
        if self._call is not None:
            self._call.cancel()
        if self._team is not None:
            self._team.stop()

    def _advance(self) -> TensorReport | None:
        """Return the next report; None: the result is there."""
        try:
            with self._driving:
                return next(self._reports, None)
        except BaseException:
            self.close()
            raise

    def _drive(self) -> Generator[TensorReport]:
        """Perform actions, and yield the reports that they bring."""
        event: Event | BaseException = None
        while (action := self._dialogue.step(event)) is not None:
            if isinstance(action, Deliver):
                yield action.report
                event = None
            elif isinstance(action, Together):
                event = yield from self._perform_together(action)
            else:
                event = self._perform(action)

    def _perform(self, action: Action) -> Event | RemoteError:
        if isinstance(action, Open):
            self._call = self._connection.open(action.method, iter(action.upload), timeout=action.timeout_seconds)
            if self._stopped.is_set():
                self._call.cancel()
        elif isinstance(action, Receive):
            assert self._call is not None, "nothing was opened"
            try:
                return next(self._call, None)
            except grpc.RpcError as error:
                return read_refusal(error, self._connection.server)
        elif isinstance(action, Wait):
            self._wait(action.seconds)
        return None

    def _perform_together(self, action: Together) -> Generator[TensorReport, None, Event | EllqError]:
        runs = [_Member(conversation, self._connection) for conversation in action.conversations]
        self._team = team = Team(runs, width=action.width)
        if self._stopped.is_set():
            team.stop()
        try:
            with team:
                yield from team.reports()
            return team.results()
        except EllqError as error:
            return error

    def _wait(self, seconds: float) -> None:
        time.sleep(seconds)


class _Member(Run[object]):
    """One of the runs of a team: driven and closed by a thread of its own, stopped by the owner's."""

    def __init__(self, conversation: Generator[Action, Event, object], connection: Connection) -> None:
        super().__init__(conversation, connection)
        connection.runs.discard(self)

    def stop(self) -> None:
        """Cancel what is under way, or waited for."""
        self._stop()

    def _wait(self, seconds: float) -> None:
        self._stopped.wait(seconds)
