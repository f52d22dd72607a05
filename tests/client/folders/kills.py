"""Kills client and server at random moments while a folder is compressed, and compares what comes out in the end.

    python -m tests.client.folders.kills --kills 20

Prints how many kills hit whom and how many outputs were finished in spite of them; raises when one differs in a byte.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.client.folders.models import tree, write_model

ELLQ = [sys.executable, "-c", "from ellq_client.cli import main; main()"]
RULE = ["--rule", "tail", "--epsilon", "0.2"]
GAVE_UP = 3
"""Exit code of a client that found no server."""

LONGEST_SECONDS = 120
"""After so long a process counts as hung."""


class Server:
    """`ellq serve` on a Unix socket."""

    def __init__(self, directory: Path) -> None:
        self.address = f"unix:{directory / 's'}"
        self.start()

    def start(self) -> None:
        words = ["serve", "--listen", self.address, "--metrics-port", "0", "--log-level", "error"]
        self.process = subprocess.Popen([*ELLQ, *words], env=environment())
        ready = [*ELLQ, "capabilities", "--server", self.address, "--timeout", "60"]
        while subprocess.run(ready, env=environment(), capture_output=True, check=False, timeout=LONGEST_SECONDS).returncode:
            assert self.process.poll() is None, "the server does not start"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def client(self, source: Path, output: Path) -> subprocess.Popen[str]:
        words = ["compress", str(source), "-o", str(output), *RULE, "--quiet", "--server", self.address]
        return subprocess.Popen([*ELLQ, *words], env=environment(), stderr=subprocess.PIPE, text=True)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ELLQ_")}


@contextmanager
def running(directory: Path) -> Iterator[Server]:
    server = Server(directory)
    try:
        yield server
    finally:
        server.kill()


def survive(directory: Path, *, kills: int, seed: int) -> Counter[str]:
    """Kill so many times, and return what happened how often."""
    chance, told = random.Random(seed), Counter[str]()
    source = write_model(directory / "model", shards=8, rows=2048, columns=256)
    with running(directory) as server:
        usual_seconds = [left_alone(server, source, directory / name) for name in ("cold", "reference")][-1]
        reference = tree(directory / "reference")
        while told["client"] + told["server"] < kills:
            output = directory / f"out{told['finished']}"
            finished = False
            while not finished:
                client = server.client(source, output)
                if told["client"] + told["server"] < kills:
                    time.sleep(chance.uniform(0, usual_seconds))
                    strike(client, server, chance.choice(["client", "server"]), told)
                _, errors = client.communicate(timeout=LONGEST_SECONDS)
                assert client.returncode in (0, GAVE_UP, -signal.SIGKILL), errors
                finished = client.returncode == 0
            assert tree(output) == reference
            told["finished"] += 1
    return told


def left_alone(server: Server, source: Path, output: Path) -> float:
    """Compress without a kill, and return how many seconds that takes."""
    began = time.monotonic()
    client = server.client(source, output)
    _, errors = client.communicate(timeout=LONGEST_SECONDS)
    assert client.returncode == 0, errors
    return time.monotonic() - began


def strike(client: subprocess.Popen[str], server: Server, victim: str, told: Counter[str]) -> None:
    if client.poll() is not None:
        told["too late"] += 1
        return
    told[victim] += 1
    if victim == "client":
        client.kill()
    else:
        server.kill()
        server.start()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ellq-kills-") as place:
        print(dict(survive(Path(place), kills=chosen.kills, seed=chosen.seed)))
