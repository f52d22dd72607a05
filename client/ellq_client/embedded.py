"""The server in this process, for a caller who named none."""

import shutil
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

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
