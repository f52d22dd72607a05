"""A real server over a real socket."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ellq_server.embedded import EmbeddedServer
from ellq_server.settings import Settings
from tests.server.wire import Caller


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Caller]]:
    """Start servers with the settings a test asks for; they stop at the end."""
    with ExitStack() as stack:

        def start(**settings: object) -> Caller:
            socket = Path(tmp_path_factory.mktemp("ellq")) / "s"
            defaults = {"listen": f"unix:{socket}", "metrics_port": 0, "drain_seconds": 0.0, "drain_delay_seconds": 0.0}
            server = EmbeddedServer(Settings.model_construct(**{**defaults, **settings}))
            stack.callback(server.stop)
            caller = Caller(f"unix:{socket}")
            stack.callback(caller.channel.close)
            caller.server = server.server
            return caller

        yield start


@pytest.fixture(scope="session")
def caller(serve: Callable[..., Caller]) -> Caller:
    """One server with default limits for all tests that ask for nothing special."""
    return serve()
