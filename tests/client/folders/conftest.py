from pathlib import Path

import pytest
from tests.client.folders.models import write_model

from ellq_client import Client
from ellq_server.embedded import EmbeddedServer
from ellq_server.limits import CALL_BYTES
from ellq_server.settings import Settings


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a folder with three shards."""
    return write_model(tmp_path / "model")


@pytest.fixture(scope="session")
def wide_client():
    """Return a client that has three streams to a real server in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ELLQ_SERVER", raising=False)
        with Client(streams=3) as client:
            yield client


@pytest.fixture(scope="session")
def small_client(tmp_path_factory):
    """Return a client of a server that cannot hold a checkpoint of 300 kB, but each of its tensors."""
    address = f"unix:{tmp_path_factory.mktemp('small') / 's'}"
    settings = {"listen": address, "metrics_port": 0, "drain_seconds": 0.0, "drain_delay_seconds": 0.0}
    server = EmbeddedServer(Settings.model_construct(**settings, memory_bytes=CALL_BYTES + 1_000_000))
    with Client(address, streams=1) as client:
        yield client
    server.stop()
