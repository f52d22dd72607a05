"""What a client process can be told to do. Every job returns what it wants to have written down."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import grpc
import numpy as np

from ellq.v1 import compression_pb2 as pb
from ellq_client import Client, EllqError, Fraction
from ellq_client.requests import Request
from tests.benchmarks.bench.bare_server import ECHO, OPTIONS, UPLOAD

RULE = Fraction(pruned_ratio=0.5)


class Connections:
    """A client of ours, and a bare channel."""

    def __init__(self, target: str, bare_target: str, ca_file: str | None) -> None:
        self._stack = ExitStack()
        self.client = self._stack.enter_context(_client(target, ca_file))
        channel = self._stack.enter_context(_bare_channel(bare_target, ca_file))
        self.bare_upload: Any = channel.stream_unary(UPLOAD)
        self.bare_echo: Any = channel.stream_stream(ECHO)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def analyze(connections: Connections, files: Sequence[str]) -> dict[str, Any]:
    """Analyse files, one call each."""
    for file in files:
        assert connections.client.analyze(file).result().summary.weights > 0
    return {"bytes": _size_bytes(files)}


def compress(connections: Connections, files: Sequence[str], output: str | None) -> dict[str, Any]:
    """Compress files, one call each: all into the same place, or into memory."""
    for file in files:
        summary = connections.client.compress(file, output, rule=RULE).result().summary
        assert 0 < (summary.kept or 0) < summary.weights
    return {"bytes": _size_bytes(files)}


def compress_whole(connections: Connections, files: Sequence[str], output: str | None) -> dict[str, Any]:
    """Compress files as callers do who have no originals to lay a mask over: all bytes come back."""
    with patch.object(Request, "compress_options", _asking_for_whole(Request.compress_options)):
        return compress(connections, files, output)


def bare_upload(connections: Connections, size_bytes: int, chunk_bytes: int) -> dict[str, Any]:
    """Send bytes to the bare server."""
    assert int(connections.bare_upload(_messages(size_bytes, chunk_bytes))) == size_bytes
    return {"bytes": size_bytes}


def bare_echo(connections: Connections, size_bytes: int, chunk_bytes: int) -> dict[str, Any]:
    """Send bytes to the bare server and take them back."""
    assert sum(map(len, connections.bare_echo(_messages(size_bytes, chunk_bytes)))) == size_bytes
    return {"bytes": size_bytes}


def write_file(connections: Connections, size_bytes: int, chunk_bytes: int, output: str) -> dict[str, Any]:
    """Write bytes to a file and see them onto the disk, which is what compressing into a file cannot do without."""
    with Path(output).open("wb") as file:
        file.writelines(_messages(size_bytes, chunk_bytes))
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": size_bytes}


def latencies(connections: Connections, file: str, count: int) -> dict[str, Any]:
    """Time single requests over warm channels, all kinds in turn; the first of each is not counted."""
    data = Path(file).read_bytes()
    requests: dict[str, Callable[[], object]] = {
        "bare echo": lambda: list(connections.bare_echo(iter([data]))),
        "GetCapabilities": lambda: connections.client.capabilities(),
        "Analyze": lambda: connections.client.analyze(file).result(),
        "Compress": lambda: connections.client.compress(file, rule=RULE).result(),
    }
    seconds: dict[str, list[float]] = {name: [] for name in requests}
    for _ in range(count + 1):
        for name, request in requests.items():
            start = time.perf_counter()
            request()
            seconds[name].append(time.perf_counter() - start)
    return {"seconds": {name: each[1:] for name, each in seconds.items()}}


def refused(connections: Connections, reason: str) -> dict[str, Any]:
    """Ask for what cannot be had; told is the reason that came back."""
    weights = np.ones((512, 512), np.float32)
    q = 0.5
    if reason == "NONFINITE_WEIGHT":
        weights[-1, -1] = np.nan
    else:
        q = 2.0
    try:
        connections.client.analyze({"layer.weight": weights}, q=q).result()
    except EllqError as refusal:
        return {"reason": getattr(refusal, "reason", type(refusal).__name__)}
    raise AssertionError(f"{reason} was not refused")


def cancelled(connections: Connections, file: str) -> dict[str, Any]:
    """Begin to compress and hang up at the first report, or before one."""
    run = connections.client.compress(file, rule=RULE)
    next(run)
    run.close()
    return {}


JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    job.__name__: job
    for job in (analyze, compress, compress_whole, bare_upload, bare_echo, write_file, latencies, refused, cancelled)
}


def _asking_for_whole(ask: Callable[..., pb.CompressOptions]) -> Callable[..., pb.CompressOptions]:
    def asked(*arguments: Any) -> pb.CompressOptions:
        options = ask(*arguments)
        options.delivery = pb.DELIVERY_WHOLE
        return options

    return asked


def _client(target: str, ca_file: str | None) -> Client:
    if ca_file is None:
        return Client(target)
    from ellq_client import Tls

    return Client(target, tls=Tls(ca_file=ca_file))


def _bare_channel(target: str, ca_file: str | None) -> grpc.Channel:
    if ca_file is None:
        return grpc.insecure_channel(target, options=OPTIONS)
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(Path(ca_file).read_bytes()), options=OPTIONS)


def _messages(size_bytes: int, chunk_bytes: int) -> Iterator[bytes]:
    """Yield the same bytes over and over: the ceiling is without any reading of files."""
    chunk = bytes(chunk_bytes)
    for _ in range(size_bytes // chunk_bytes):
        yield chunk
    if rest := size_bytes % chunk_bytes:
        yield chunk[:rest]


def _size_bytes(files: Sequence[str]) -> int:
    return sum(Path(file).stat().st_size for file in files)
