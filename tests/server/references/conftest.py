"""A server that may open a bucket of moto's S3 server, which is a real HTTP server, and a folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from tests.server.references.calls import ByReference
from tests.server.wire import Caller, stream_of

BUCKET = "checkpoints"
"""Not that of tests/client/test_references.py: all servers of moto in a process share what they store."""


@pytest.fixture(scope="session")
def environment() -> Iterator[pytest.MonkeyPatch]:
    """What an operator gives the process, and nobody a request."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "an-id")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_ALLOW_HTTP", "true")
        yield patch


@pytest.fixture(scope="session")
def s3(environment: pytest.MonkeyPatch) -> Iterator[object]:
    """A client of the store, for the tests to look into it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    for bucket in (BUCKET, f"{BUCKET}-secret"):
        client.create_bucket(Bucket=bucket)
    yield client
    client.close()
    server.stop()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the server may open."""
    return tmp_path_factory.mktemp("volume") / "models"


@pytest.fixture(scope="session")
def server(serve: Callable[..., Caller], s3: object, folder: Path) -> ByReference:
    """Calls to a server that reads and writes below the folder `open` of either."""
    (folder / "open").mkdir(parents=True)
    prefixes = f"s3://{BUCKET}/open, file://{folder}/open"
    return ByReference(serve(source_prefixes=prefixes, output_prefixes=prefixes))


@pytest.fixture(scope="session")
def stream() -> bytes:
    """A checkpoint of several ranges and several parts, and of a length that is a multiple of neither."""
    numbers = np.random.default_rng(0)
    layers = {f"layer.{i}.weight": numbers.standard_normal((1024, 1000), np.float32) for i in range(5)}
    return stream_of({"a": np.arange(7, dtype=np.int64), **layers})


@pytest.fixture
def stored(s3: object, stream: bytes) -> str:
    """The URI of that checkpoint in the store."""
    s3.put_object(Bucket=BUCKET, Key="open/in.safetensors", Body=stream)
    return f"s3://{BUCKET}/open/in.safetensors"
