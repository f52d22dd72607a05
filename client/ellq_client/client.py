"""The client for ordinary programs."""

import os
import time
import weakref
from collections.abc import Generator
from pathlib import Path
from threading import Lock
from typing import Any, Generic, Self, TypeVar, Unpack

import grpc

from ellq_client import conversations
from ellq_client.actions import Action, Deliver, Dialogue, Event, Method, Open, Receive
from ellq_client.channels import ServerAddress, open_channel, open_methods, server_address
from ellq_client.embedded import close_before_threads_are_joined, start_server
from ellq_client.errors import RemoteError
from ellq_client.folders import calls as folder_calls
from ellq_client.refusals import read_refusal
from ellq_client.requests import AnalyzeOptions, CompressOptions, read_options
from ellq_client.results import Analysis, Compression
from ellq_client.retrying import Patience
from ellq_client.sources import WeightSource
from ellq_client.tls import Tls
from ellq_client.values import Capabilities, TensorReport

Result = TypeVar("Result")


class Client:
    """Analyses and compresses weights on an ellq server.

    Without a target the server is the one that ELLQ_SERVER names, else one in this process, started at the first call.
    Safe to share between threads; close it, or use it as a context manager.
    """

    def __init__(
        self, target: str | None = None, *, tls: Tls | None = None, timeout_seconds: float = 600.0, max_attempts: int = 4
    ) -> None:
        """Take "host:port" or a gRPC address; nothing is sent before the first call. Errors: ValueError.

        Without `tls` the environment says whether the server is reached by TLS (ELLQ_TLS, ELLQ_TLS_CA, ...).
        `timeout_seconds` covers everything that one call does; `max_attempts` is how often a busy or absent server is tried.
        """
        self._patience = Patience(timeout_seconds=timeout_seconds, max_attempts=max_attempts)
        self._connection = _Connection(server_address(target, tls))

    def analyze(self, source: WeightSource, **options: Unpack[AnalyzeOptions]) -> "Run[Analysis]":
        """Measure the weights of a .safetensors file, a folder with shards, or arrays by name. Options: see AnalyzeOptions.

        The work begins with the first step of the run. Errors, then: EllqError.
        """
        return Run(folder_calls.analyze(source, *read_options(**options), self._patience), self._connection)

    def compress(
        self, source: WeightSource, output: str | os.PathLike[str] | None = None, **options: Unpack[CompressOptions]
    ) -> "Run[Compression]":
        """Compress the weights into a .safetensors file, or into arrays in memory when there is no output.

        An existing output is replaced, in one instant, when the new one is whole. A folder with shards is compressed into a new
        folder: the result is a FolderCompression, and the same call goes on with what an earlier one left unfinished. Options:
        see CompressOptions; `rule` is required. The work begins with the first step of the run. Errors, then: EllqError.
        """
        place = None if output is None else Path(output)
        return Run(folder_calls.compress(source, place, *read_options(**options), self._patience), self._connection)

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

    def __init__(self, conversation: Generator[Action, Event, Result], connection: "_Connection") -> None:
        self._dialogue = Dialogue(conversation)
        self._connection = connection
        self._call: Any = None
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
        if self._call is not None:
            self._call.cancel()
        self._dialogue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _advance(self) -> TensorReport | None:
        """Perform actions until a report is there; None: until the result is."""
        event: Event | RemoteError = None
        try:
            while (action := self._dialogue.step(event)) is not None:
                if isinstance(action, Deliver):
                    return action.report
                event = self._perform(action)
        except BaseException:
            self.close()
            raise
        return None

    def _perform(self, action: Action) -> Event | RemoteError:
        if isinstance(action, Open):
            self._call = self._connection.open(action.method, iter(action.upload), timeout=action.timeout_seconds)
        elif isinstance(action, Receive):
            try:
                return next(self._call, None)
            except grpc.RpcError as error:
                return read_refusal(error, self._connection.server)
        elif not isinstance(action, Deliver):
            time.sleep(action.seconds)
        return None


class _Connection:
    """A channel that is opened at its first use, and the server behind it when that is ours."""

    def __init__(self, server: ServerAddress) -> None:
        self.runs: weakref.WeakSet[Run[Any]] = weakref.WeakSet()
        self.server = server
        self._lock = Lock()
        self._methods: dict[Method, Any] | None = None
        self._closing: list[weakref.finalize[[], Any]] = []
        self._closed = False

    def open(self, method: Method, frames: Any, *, timeout: float) -> Any:
        """Start a call."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the client is closed")
            if self._methods is None:
                self._methods = open_methods(self._channel())
        return self._methods[method](frames, timeout=timeout)

    def close(self) -> None:
        """Close the runs, the channel, then the server; harmless when repeated."""
        for run in list(self.runs):
            run.close()
        with self._lock:
            self._closed = True
            while self._closing:
                self._closing.pop()()

    def _channel(self) -> grpc.Channel:
        address = self.server.uri
        if address is None:
            server = start_server()
            close_before_threads_are_joined(self)
            self._closing.append(weakref.finalize(self, server.stop))
            address = server.address
        channel = open_channel(address, self.server.tls)
        self._closing.append(weakref.finalize(self, channel.close))
        return channel
