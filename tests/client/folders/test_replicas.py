"""Three server processes behind one address, of which one is killed and one is drained in the middle of the work."""

import signal
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.client.folders.models import shard_name, tree, write_index
from tests.server.process import Process

from ellq.v1 import compression_pb2 as pb
from ellq_client import Client, Tail
from ellq_client.actions import Method
from ellq_client.connections import Call
from ellq_client.folders.finished import REPORT
from ellq_client.frames import RequestFrame

TAIL = Tail(epsilon=0.1, p=2)
SHARDS = 6
LAYERS = 8


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return shards of 24 MB each: more than the road holds, so that a call whose answer nobody takes stays under way."""
    random, root, weight_map = np.random.default_rng(5), tmp_path / "model", {}
    root.mkdir()
    for number in range(1, SHARDS + 1):
        layers = {f"l{number}.{layer}": random.normal(size=(1500, 500)).astype(np.float32) for layer in range(LAYERS)}
        save_file(layers, root / shard_name(number, SHARDS))
        weight_map |= dict.fromkeys(layers, shard_name(number, SHARDS))
    write_index(root, weight_map, {})
    return root


@pytest.fixture
def replicas() -> Iterator[list[Process]]:
    with ExitStack() as running, ThreadPoolExecutor() as starting:
        drained = ("--drain-delay-seconds", "0.1", "--drain-seconds", "20")
        yield [running.enter_context(one) for one in starting.map(lambda _: Process(*drained), range(3))]


def calls_of(replica: Process, *, which: str = "started") -> int:
    """Return how many calls of Compress a replica has started, or handled to their end."""
    name = f'grpc_server_{which}_total{{"grpc_'
    found = {labels: count for labels, count in replica.metrics().items() if labels.startswith(name)}
    return int(sum(count for labels, count in found.items() if '"grpc_method": "Compress"' in labels))


def asking_for_all(frames: Iterator[RequestFrame]) -> Iterator[RequestFrame]:
    """Ask for all bytes in place of masks, which the road holds."""
    first = next(frames)
    if isinstance(first, pb.CompressRequest):
        first.options.delivery = pb.DELIVERY_WHOLE
    yield first
    yield from frames


def is_at_work(replica: Process) -> bool:
    return calls_of(replica) > calls_of(replica, which="handled")


@pytest.mark.timeout(120)
def test_a_killed_and_a_drained_replica_change_nothing(replicas, model, tmp_path):
    killed, drained, left = replicas
    with Client(f"127.0.0.1:{left.port}", streams=1) as client:
        client.compress(model, tmp_path / "reference", rule=TAIL).result()
    already = calls_of(left)
    address = "ipv4:" + ",".join(f"127.0.0.1:{replica.port}" for replica in replicas)
    opened: list[str] = []
    with Client(address, streams=3) as client, client.compress(model, tmp_path / "out", rule=TAIL) as run:
        for _ in replicas:
            client.capabilities()  # connects with all of them; the first calls go to whoever is first
        begin = client._connection.open

        def noted(method: Method, frames: Iterator[RequestFrame], *, timeout: float) -> Call:
            opened.append(method)
            return begin(method, asking_for_all(frames), timeout=timeout)

        client._connection.open = noted
        while not (is_at_work(killed) and is_at_work(drained) and calls_of(left) > already):
            next(run)
        killed.process.send_signal(signal.SIGKILL)
        drained.process.send_signal(signal.SIGTERM)
        result = run.result()
    assert tree(tmp_path / "out") == tree(tmp_path / "reference")
    assert len(result.parts) == SHARDS
    assert REPORT in tree(tmp_path / "out")
    events = [line["event"] for line in drained.logs_after_end()]
    assert drained.process.returncode == 0
    assert events.count("answered") >= 1, "what it had begun it finished"
    assert len(opened) > SHARDS, "what the killed one had begun was begun again"
    with pytest.raises(urllib.error.URLError):
        killed.metrics()
