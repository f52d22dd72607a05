"""The road to a server for asyncio programs, for as long as a client is open."""

import asyncio
import weakref
from collections.abc import AsyncIterator
from typing import Any, Protocol

import grpc.aio

from ellq_client.actions import Event, Method
from ellq_client.channels import ServerAddress, open_async_channel, open_methods
from ellq_client.embedded import start_server
from ellq_client.frames import RequestFrame


class Closable(Protocol):
    """What is closed before the channel is."""

    async def close(self) -> None:
        """Close it."""
        ...


class AsyncCall(Protocol):
    """A call under way: the frames of its answer as they come."""

    def __aiter__(self) -> AsyncIterator[Event]:
        """Yield the frames."""
        ...

    def cancel(self) -> object:
        """End it."""
        ...


class AsyncConnection:
    """A channel that is opened at its first use, and the server behind it when that is ours."""

    def __init__(self, server: ServerAddress) -> None:
        self.runs: weakref.WeakSet[Closable] = weakref.WeakSet()
        """What is closed before the channel is."""
        self.server = server
        self._lock = asyncio.Lock()
        self._channel: grpc.aio.Channel | None = None
        self._methods: dict[Method, Any] = {}
        self._stop_server: weakref.finalize[[], Any] | None = None
        self._closed = False

    async def open(self, method: Method, frames: AsyncIterator[RequestFrame], *, timeout: float) -> AsyncCall:
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
