"""A real server and real clients: what they take, what they tell, and how they are killed."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.benchmarks.bench.procfs import peak_bytes

ELLQ = [sys.executable, "-c", "from ellq_client.cli import main; main()"]
GAVE_UP = 3
"""Exit code of a client that found no server."""
TIMEOUT_SECONDS = 3600
_LOOK_SECONDS = 0.05
_LEFT = re.compile(r"([\d.]+) of ([\d.]+) MB, about ([\d.]+) (s|min|h) left")
_UNITS = {"s": 1, "min": 60, "h": 3600}


@dataclass
class Peaks:
    """The most memory that any process of each kind ever held, killed ones included."""

    bytes: Counter[str] = field(default_factory=Counter)

    def watch(self, kind: str, process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
        """Look at a process, again and again until it ends, in a thread of its own."""

        def look() -> None:
            while process.poll() is None:
                with suppress(OSError, StopIteration):  # it ended between two looks
                    self.bytes[kind] = max(self.bytes[kind], peak_bytes(process.pid))
                time.sleep(_LOOK_SECONDS)

        threading.Thread(target=look, daemon=True).start()


@dataclass(frozen=True)
class Told:
    """What a line of progress said, and what was so."""

    share: float
    """Of the bytes, done when it was said."""
    told_seconds: float
    true_seconds: float


class Watched:
    """`ellq serve` on a Unix socket; its memory, and that of its clients, is watched."""

    def __init__(self, directory: Path, peaks: Peaks, *, streams: int) -> None:
        self.address = f"unix:{directory / 's'}"
        self._peaks, self._streams = peaks, streams
        self.start()

    def start(self) -> None:
        """Start it, again after a kill, and wait until it answers."""
        words = ["serve", "--listen", self.address, "--metrics-port", "0", "--log-level", "error"]
        self.process = subprocess.Popen([*ELLQ, *words], env=environment())
        self._peaks.watch("server", self.process)
        subprocess.run([sys.executable, "-m", "ellq_server.probe", self.address, "--wait", "120"], check=True)

    def kill(self) -> None:
        """Leave it no time for anything."""
        self.process.kill()
        self.process.wait()

    def client(self, source: Path, output: Path) -> subprocess.Popen[str]:
        """Start a compression, of which the progress is told in lines."""
        words = ["compress", str(source), "-o", str(output), "--rule", "tail", "--epsilon", "0.2", "--server", self.address]
        command = [*ELLQ, *words, "--timeout", str(TIMEOUT_SECONDS), "--streams", str(self._streams)]
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._peaks.watch("client", process)
        return process


def environment() -> dict[str, str]:
    """Return that of this process without settings of ellq."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ELLQ_")}


def left_alone(server: Watched, source: Path, output: Path) -> tuple[float, list[Told]]:
    """Compress without a kill; return the seconds it took, and what was told of those that remained."""
    began = time.monotonic()
    client = server.client(source, output)
    assert client.stderr is not None
    lines = [(time.monotonic(), line) for line in client.stderr]
    code, ended = client.wait(timeout=TIMEOUT_SECONDS), time.monotonic()
    if code:
        raise SystemExit("".join(line for _, line in lines))
    found = [(moment, match) for moment, line in lines if (match := _LEFT.search(line))]
    told = [
        Told(float(match[1]) / float(match[2]), float(match[3]) * _UNITS[match[4]], ended - moment) for moment, match in found
    ]
    return ended - began, told


@dataclass
class Strikes:
    """Kills that are left, and those that were."""

    wanted: int
    longest_seconds: float
    """How long a client is left alone at most."""
    chance: Random
    told: Counter[str] = field(default_factory=Counter)

    @property
    def left(self) -> int:
        """Kills still to come."""
        return self.wanted - self.told["client"] - self.told["server"]

    def maybe(self, client: subprocess.Popen[str], server: Watched) -> None:
        """Kill one of the two after a while, if any kill is left."""
        if self.left > 0:
            time.sleep(self.chance.uniform(0, self.longest_seconds))
            self._strike(client, server)

    def _strike(self, client: subprocess.Popen[str], server: Watched) -> None:
        victim = "too late" if client.poll() is not None else self.chance.choice(["client", "server"])
        self.told[victim] += 1
        if victim == "client":
            client.kill()
        elif victim == "server":
            server.kill()
            server.start()


def finish(server: Watched, source: Path, output: Path, strikes: Strikes) -> None:
    """Compress, again after each kill, until it is done."""
    while True:
        client = server.client(source, output)
        strikes.maybe(client, server)
        _, errors = client.communicate(timeout=TIMEOUT_SECONDS)
        if client.returncode == 0:
            return
        if client.returncode not in (GAVE_UP, -signal.SIGKILL):
            raise SystemExit(errors)
