"""`ellq serve` as an operator starts it: a process of its own, a port, a metrics page, logs."""

import json
import os
import random
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from tests.server.wire import Caller


class Process:
    """`ellq serve` as an operator starts it."""

    PROGRAM = ("-m", "ellq_server")

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        command = [
            sys.executable,
            *self.PROGRAM,
            "--listen",
            f"127.0.0.1:{self.port}",
            "--metrics-port",
            str(self.metrics_port),
        ]
        self.process = subprocess.Popen([*command, *arguments], env=os.environ | environment, stderr=subprocess.PIPE, text=True)
        self.caller = Caller(f"127.0.0.1:{self.port}")
        grpc.channel_ready_future(self.caller.channel).result(timeout=60)
        self.health = health_pb2_grpc.HealthStub(self.caller.channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.caller.channel.close()
        self.process.kill()
        self.process.communicate()

    def status(self, service: str = "") -> int:
        return self.health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5, wait_for_ready=True).status

    def metrics(self) -> dict[str, float]:
        page = urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5).read().decode()
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        return {sample.name + json.dumps(sample.labels, sort_keys=True): sample.value for sample in samples}

    def peak_memory_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def logs_after_end(self) -> list[dict[str, object]]:
        _, errors = self.process.communicate(timeout=30)
        return [json.loads(line) for line in errors.splitlines()]


def free_port() -> int:
    """Return a port below those that the system gives to connections, one of which could take it before the server does."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
