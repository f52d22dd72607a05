"""The service inside a client's process, on a Unix socket: the newcomer's default."""

import asyncio
import os
import threading

from ellq_server.listening import CannotListen
from ellq_server.server import UNUSABLE_SETTINGS, Server
from ellq_server.settings import Settings
from ellq_server.warm_up import note_compiled

CANNOT_START = (*UNUSABLE_SETTINGS, CannotListen)
"""What `start` raises where a server cannot run."""

LAST_STEP_SECONDS = 30.0
"""How long a cancelled call may need for the step it is in; the interpreter would wait for that thread at its end anyway."""


class EmbeddedServer:
    """A server with an event loop and a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        """Start and wait until it listens. Errors: CANNOT_START."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ellq-embedded", daemon=True)
        self._thread.start()
        starting = asyncio.run_coroutine_threadsafe(_start(settings), self._loop)
        try:
            self.server = starting.result()
        except BaseException:
            starting.cancel()
            asyncio.run_coroutine_threadsafe(_finish(), self._loop).result()
            self._end()
            raise

    def stop(self) -> None:
        """Stop at once: the only client is this process. Waits for a kernel that is in the middle of a tensor."""
        asyncio.run_coroutine_threadsafe(_stop(self.server), self._loop).result()
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def start(socket_path: str) -> EmbeddedServer:
    """Serve on `unix:{socket_path}`, with default limits, no metrics page and no environment but that of references.

    Errors: CANNOT_START.
    """
    # The channel is closed before the server stops, so its calls end by themselves; cancelling them makes gRPC log a line.
    # model_construct reads no environment: settings for a deployment must not leak into a laptop's default
    settings = Settings.model_construct(
        listen=f"unix:{socket_path}",
        metrics_port=0,
        drain_seconds=LAST_STEP_SECONDS,
        drain_delay_seconds=0.0,
        connection_age_seconds=86400.0,
        # what one may open in one's own name one has to name all the same, because a URI may come from anybody
        source_prefixes=os.environ.get("ELLQ_SOURCE_PREFIXES", ""),
        output_prefixes=os.environ.get("ELLQ_OUTPUT_PREFIXES", ""),
    )
    return EmbeddedServer(settings)


async def _stop(server: Server) -> None:
    await server.drain()
    await _finish()


async def _finish() -> None:
    """See every task to its end: one that is still pending when its loop goes complains on stderr."""
    if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        _, late = await asyncio.wait(tasks, timeout=LAST_STEP_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _start(settings: Settings) -> Server:
    server = Server(settings)
    await server.start()
    if settings.kernels == "cpu":
        await asyncio.to_thread(note_compiled)
    return server
