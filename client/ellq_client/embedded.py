"""The server in this process, for a caller who named none."""

import shutil
import tempfile
import threading
import weakref
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ellq_client.errors import ServerExtraMissing

_INSTALL = "pip install 'ellq[server]'"


@dataclass(frozen=True)
class EmbeddedServer:
    """A running server and the private directory of its socket."""

    address: str
    _server: Any
    _directory: Path

    def stop(self) -> None:
        """End the server and remove its socket."""
        self._server.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


def start_server() -> EmbeddedServer:
    """Start a server on a Unix socket that only this user can reach. Errors: ServerExtraMissing."""
    try:
        start = _server_room("embedded").start
    except ImportError as error:
        raise ServerExtraMissing(
            f"the server to run in this process cannot be loaded ({error}): {_INSTALL}, or name another one "
            "(Client('host:port'), --server or ELLQ_SERVER)"
        ) from error
    directory = Path(tempfile.mkdtemp(prefix="ellq-"))  # mode 0700
    socket = directory / "server.sock"
    try:
        return EmbeddedServer(f"unix:{socket}", start(str(socket)), directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def compiles_first() -> bool:
    """Tell whether the server in this process has to compile its kernels, because nobody has on this machine."""
    try:
        return _server_room("warm_up").compiles_first()
    except ImportError:
        return False  # without kernels to compile it cannot start either, which start_server says


class Closable(Protocol):
    """What can be closed, more than once."""

    def close(self) -> None:
        """Close it."""
        ...


def close_before_threads_are_joined(connection: Closable) -> None:
    """Close a connection to a server in this process, if it still lives, before the interpreter waits for its threads.

    At its end the interpreter joins the threads of executors first, and a worker in the middle of an answer that nobody reads
    any more would wait for its idle time. Only the hook that executors use themselves comes before that; it has no public name.
    """
    living = weakref.ref(connection)

    def close() -> None:
        if (one := living()) is not None:
            one.close()

    threading._register_atexit(close)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def serve(arguments: list[str]) -> int:
    """Run a server for others until it is told to stop, and return its exit code. Errors: ServerExtraMissing."""
    try:
        run = _server_room("main").serve
    except ImportError as error:
        raise ServerExtraMissing(f"`ellq serve` needs the server, which cannot be loaded ({error}): {_INSTALL}") from error
    return run(arguments)


def _server_room(module: str) -> Any:
    """Return a module of the server: the one place that knows that room, and it looks there only when called."""
    return import_module(f"ellq_server.{module}")
