"""One server in this process for the whole corpus, and the command line in front of it."""

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ellq_client import Client
from ellq_client.cli import main
from ellq_server.embedded import EmbeddedServer
from ellq_server.settings import Settings


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the server is."""
    address = f"unix:{tmp_path_factory.mktemp('corpus') / 's'}"
    settings = {"listen": address, "metrics_port": 0, "drain_seconds": 0.0, "drain_delay_seconds": 0.0}
    server = EmbeddedServer(Settings.model_construct(**settings))
    yield address
    server.stop()


@pytest.fixture(scope="session")
def frozen() -> Iterator[None]:
    """Keep what is there out of collections of garbage: the command line ends with one, and torch is large."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[Client]:
    with Client(address, timeout_seconds=60) as client:
        yield client


@pytest.fixture
def ellq(
    frozen: None, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str]]:
    """Return a function that runs a command line and returns its exit code and what it said of errors."""

    def run(*words: str | Path) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["ellq", *map(str, words), "--server", address])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, capsys.readouterr().err

    return run
