"""The server in this process, for a caller who named none."""

import shutil
import tempfile
import threading
import weakref
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ellq_client.errors import ServerExtraMissing, ServerUnusable

_INSTALL = "pip install 'ellq[server]'"
_ANOTHER = "name another one (Client('host:port'), --server or ELLQ_SERVER)"


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
    """Start a server on a Unix socket that only this user can reach. Errors: ServerUnusable."""
    try:
        room = _server_room("embedded")
    except ImportError as error:
        raise _not_loaded(error, "the server to run in this process cannot be loaded", _ANOTHER) from error
    directory = Path(tempfile.mkdtemp(prefix="ellq-"))  # mode 0700
    socket = directory / "server.sock"
    try:
        return EmbeddedServer(f"unix:{socket}", room.start(str(socket)), directory)
    except BaseException as error:
        shutil.rmtree(directory, ignore_errors=True)
        if isinstance(error, room.CANNOT_START):
            raise ServerUnusable(f"the server to run in this process cannot start: {error}; or {_ANOTHER}") from error
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
    """Run a server for others until it is told to stop, and return its exit code. Errors: ServerUnusable."""
    try:
        run = _server_room("main").serve
    except ImportError as error:
        raise _not_loaded(error, "`ellq serve` needs the server, which cannot be loaded") from error
    return run(arguments)


def _not_loaded(error: ImportError, what: str, *ways_out: str) -> ServerUnusable:
    """Return the error of a server that does not load: only where something is missing, installing it is a way out."""
    missing = isinstance(error, ModuleNotFoundError)
    ways = ", or ".join((_INSTALL, *ways_out) if missing else ways_out)
    return (ServerExtraMissing if missing else ServerUnusable)(f"{what} ({error})" + (ways and f": {ways}"))


def _server_room(module: str) -> Any:
    """Return a module of the server: the one place that knows that room, and it looks there only when called."""
    return import_module(f"ellq_server.{module}")
