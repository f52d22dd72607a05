"""The road to a server, for as long as a client is open."""

import weakref
from collections.abc import Iterator
from threading import Lock
from typing import Any, Protocol

import grpc

from ellq_client.actions import Event, Method
from ellq_client.channels import ServerAddress, open_channel, open_methods
from ellq_client.embedded import Closable, close_before_threads_are_joined, start_server
from ellq_client.frames import RequestFrame


class Call(Protocol):
    """A call under way: the frames of its answer as they come."""

    def __next__(self) -> Event:
        """Return the next frame."""
        ...

    def cancel(self) -> object:
        """End it, from any thread."""
        ...


class Connection:
    """A channel that is opened at its first use, and the server behind it when that is ours."""

    def __init__(self, server: ServerAddress) -> None:
        self.runs: weakref.WeakSet[Closable] = weakref.WeakSet()
        """What is closed before the channel is."""
        self.server = server
        self._lock = Lock()
        self._methods: dict[Method, Any] | None = None
        self._closing: list[weakref.finalize[[], Any]] = []
        self._closed = False

    def open(self, method: Method, frames: Iterator[RequestFrame], *, timeout: float) -> Call:
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
