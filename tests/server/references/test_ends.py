"""Calls that end in the middle of an upload: cancelled, cut off by a drain, killed."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import grpc
import pytest

from ellq.v1 import compression_pb2 as pb
from tests.server.process import Process
from tests.server.references.conftest import BUCKET
from tests.server.references.test_objects import uploads
from tests.server.wire import HALF, Caller

OUTPUT = f"s3://{BUCKET}/open/unfinished.safetensors"


def eventually(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class HalfSent:
    """A call that has sent all but the last bytes of a checkpoint, and keeps the server waiting for them."""

    def __init__(self, caller: Caller, stream: bytes, output: str, timeout: float = 60) -> None:
        self._over = Event()
        self.call = caller.stub.Compress(self._frames(stream, output), timeout=timeout)

    def _frames(self, stream: bytes, output: str) -> Iterator[pb.CompressRequest]:
        yield pb.CompressRequest(options=pb.CompressOptions(rule=HALF, output_uri=output))
        for start in range(0, len(stream) - 1000, 1 << 20):
            yield pb.CompressRequest(data=stream[start : start + (1 << 20)][: len(stream) - 1000 - start])
        self._over.wait(60)

    def end(self) -> None:
        self._over.set()
        self.call.cancel()


@pytest.fixture
def half_sent() -> Iterator[Callable[..., HalfSent]]:
    made: list[HalfSent] = []

    def make(*arguments: object, **options: object) -> HalfSent:
        made.append(HalfSent(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.end()


def nothing_is_left(s3) -> bool:
    return uploads(s3) == [] and "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="open/unfinished")


def test_a_cancelled_call_aborts_its_upload(server, s3, stream, half_sent) -> None:
    held = half_sent(server.caller, stream, OUTPUT)
    eventually(lambda: uploads(s3))
    held.call.cancel()
    eventually(lambda: not server.caller.server._admission.calls)
    assert nothing_is_left(s3)


def test_a_call_whose_time_is_over_aborts_its_upload(server, s3, stream, half_sent) -> None:
    held = half_sent(server.caller, stream, OUTPUT, timeout=2.0)
    with pytest.raises(grpc.RpcError) as caught:
        list(held.call)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(lambda: not server.caller.server._admission.calls)
    assert nothing_is_left(s3)


def test_a_cancelled_call_leaves_no_partial_file(server, folder: Path, stream, half_sent) -> None:
    held = half_sent(server.caller, stream, f"file://{folder}/open/unfinished.safetensors")
    eventually(lambda: list((folder / "open").glob(".unfinished*.partial")))
    held.call.cancel()
    eventually(lambda: not server.caller.server._admission.calls)
    assert list((folder / "open").glob("*unfinished*")) == []


@pytest.fixture
def process(s3) -> Iterator[Process]:
    """A server in a process of its own, which writes to the store."""
    with Process("--output-prefixes", f"s3://{BUCKET}/open", "--drain-delay-seconds", "0", "--drain-seconds", "0.3") as started:
        yield started


def test_a_drain_that_cuts_a_call_off_aborts_its_upload(process: Process, s3, stream, half_sent) -> None:
    half_sent(process.caller, stream, OUTPUT)
    eventually(lambda: uploads(s3))
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(timeout=30) == 0
    assert nothing_is_left(s3)


def test_a_process_that_is_killed_leaves_no_object(process: Process, s3, stream, half_sent) -> None:
    """The parts stay with the store, which nobody can tell any more; docs/references.md says how they go."""
    half_sent(process.caller, stream, OUTPUT)
    eventually(lambda: uploads(s3))
    process.process.kill()
    process.process.wait(timeout=30)
    (left,) = uploads(s3)
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="open/unfinished")
    s3.abort_multipart_upload(Bucket=BUCKET, Key=left["Key"], UploadId=left["UploadId"])


def test_a_server_without_prefixes_imports_no_store_and_one_with_them_only_when_asked(process: Process, s3) -> None:
    mapped = Path(f"/proc/{process.process.pid}/maps")
    assert "obstore" not in mapped.read_text()
    with pytest.raises(grpc.RpcError):
        process.caller.compress(b"", output_uri=OUTPUT)
    assert "obstore" in mapped.read_text()
