"""Kills client and servers, and drains servers, at random moments while a folder is compressed; compares what comes out.

    python -m tests.client.folders.kills --kills 20 --replicas 3

Prints how many strikes hit whom and how many outputs were finished in spite of them; raises when one differs in a byte.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.client.folders.models import tree, write_model
from tests.server.process import free_port

ELLQ = [sys.executable, "-c", "from ellq_client.cli import main; main()"]
RULE = ["--rule", "tail", "--epsilon", "0.2"]
DRAINING = ["--drain-delay-seconds", "0.1", "--drain-seconds", "5"]
VICTIMS = ("client", "server", "drained")
GAVE_UP = 3
"""Exit code of a client that found no server."""

LONGEST_SECONDS = 120
"""After so long a process counts as hung."""


class Server:
    """`ellq serve` on a port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    def start(self) -> None:
        words = ["serve", "--listen", f"127.0.0.1:{self.port}", "--metrics-port", "0", "--log-level", "error"]
        self.process = subprocess.Popen([*ELLQ, *words, *DRAINING], env=environment())
        ready = [*ELLQ, "capabilities", "--server", f"127.0.0.1:{self.port}", "--timeout", "60"]
        while subprocess.run(ready, env=environment(), capture_output=True, check=False, timeout=LONGEST_SECONDS).returncode:
            assert self.process.poll() is None, f"the server does not start: exit code {self.process.returncode}"

    def end(self, by: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(by)
        self.process.wait(timeout=LONGEST_SECONDS)


class Fleet:
    """Replicas behind one address."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = servers
        self.address = "ipv4:" + ",".join(f"127.0.0.1:{server.port}" for server in servers)

    def client(self, source: Path, output: Path) -> subprocess.Popen[str]:
        words = ["compress", str(source), "-o", str(output), *RULE, "--quiet", "--server", self.address]
        streams = ["--streams", str(len(self.servers))]
        return subprocess.Popen([*ELLQ, *words, *streams], env=environment(), stderr=subprocess.PIPE, text=True)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ELLQ_")}


@contextmanager
def running(replicas: int) -> Iterator[Fleet]:
    with ExitStack() as ended:
        servers: list[Server] = []
        for _ in range(replicas):
            servers.append(Server())
            ended.callback(servers[-1].end)
        yield Fleet(servers)


def survive(directory: Path, *, kills: int, seed: int, replicas: int = 1) -> Counter[str]:
    """Strike so many times, and return what happened how often."""
    chance, told = random.Random(seed), Counter[str]()
    source = write_model(directory / "model", shards=8, rows=2048, columns=256)
    with running(replicas) as fleet:
        usual_seconds = [left_alone(fleet, source, directory / name) for name in ("cold", "reference")][-1]
        reference = tree(directory / "reference")
        while strikes(told) < kills:
            output = directory / f"out{told['finished']}"
            finished = False
            while not finished:
                client = fleet.client(source, output)
                if strikes(told) < kills:
                    time.sleep(chance.uniform(0, usual_seconds))
                    strike(client, chance.choice(fleet.servers), chance.choice(VICTIMS), told)
                finished = exit_code(client, allowed=(0, GAVE_UP, -signal.SIGKILL)) == 0
            assert tree(output) == reference
            told["finished"] += 1
    return told


def strikes(told: Counter[str]) -> int:
    return sum(told[victim] for victim in VICTIMS)


def left_alone(fleet: Fleet, source: Path, output: Path) -> float:
    """Compress without a kill, and return how many seconds that takes."""
    began = time.monotonic()
    exit_code(fleet.client(source, output), allowed=(0,))
    return time.monotonic() - began


def exit_code(client: subprocess.Popen[str], *, allowed: Sequence[int]) -> int:
    """Wait for the end of a client and return its exit code; any other than those allowed is told with its last words."""
    try:
        _, errors = client.communicate(timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        client.kill()
        raise AssertionError(f"no end in {LONGEST_SECONDS} seconds; on standard error: {client.communicate()[1]!r}") from None
    assert client.returncode in allowed, f"exit code {client.returncode}; on standard error: {errors!r}"
    return client.returncode


def strike(client: subprocess.Popen[str], server: Server, victim: str, told: Counter[str]) -> None:
    if client.poll() is not None:
        told["too late"] += 1
        return
    told[victim] += 1
    if victim == "client":
        client.kill()
    else:
        server.end(signal.SIGKILL if victim == "server" else signal.SIGTERM)
        server.start()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ellq-kills-") as place:
        print(dict(survive(Path(place), kills=chosen.kills, seed=chosen.seed, replicas=chosen.replicas)))
