"""Server processes: ours as an operator starts it, and the bare one."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[3]
ELLQ = str(Path(sys.executable).with_name("ellq"))

_START_SECONDS = 240.0
"""Enough to compile the kernels on a busy machine."""
_STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Certificate:
    """Files of a server's certificate, and of the authority that vouches for it."""

    key_file: Path
    certificate_file: Path
    ca_file: Path


@dataclass(frozen=True)
class Road:
    """How clients reach a server."""

    target: str
    certificate: Certificate | None = None

    @property
    def listen(self) -> str:
        """What the server listens on."""
        return self.target


class Server:
    """A process that serves when the constructor returns, and is gone when its block ends."""

    def __init__(self, command: Sequence[str], folder: Path, **environment: str) -> None:
        """Start it; its output goes to a file in the folder. Errors: RuntimeError with that output when it does not serve."""
        self._log = folder / f"server-{secrets.token_hex(4)}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=clean_environment() | environment
            )
        self.pid = self._process.pid
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop it, by force if it does not go."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self) -> None:
        # The log line, not a probe: a channel that finds nobody waits a second before it tries again.
        deadline = time.monotonic() + _START_SECONDS
        while b"serving" not in self._log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no server: {self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.002)


def ellq_server(road: Road, folder: Path, *arguments: str, **environment: str) -> Server:
    """Start `ellq serve` with its default settings."""
    command = [ELLQ, "serve", "--listen", road.listen, "--metrics-port", "0", "--drain-delay-seconds", "0"]
    if road.certificate is not None:
        command += ["--tls-certificate-file", str(road.certificate.certificate_file)]
        command += ["--tls-key-file", str(road.certificate.key_file)]
    return Server([*command, *arguments], folder, **environment)


def bare_server(road: Road, folder: Path) -> Server:
    """Start the server that does nothing."""
    command = [sys.executable, "-m", "tests.benchmarks.bench.bare_server", road.listen]
    if road.certificate is not None:
        command += [str(road.certificate.key_file), str(road.certificate.certificate_file)]
    return Server(command, folder)


def tcp_road(certificate: Certificate | None = None) -> Road:
    """Return a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Road(f"127.0.0.1:{probe.getsockname()[1]}", certificate)


def unix_road(folder: Path) -> Road:
    """Return a socket in the folder."""
    return Road(f"unix:{folder / secrets.token_hex(4)}.sock")


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of ours: somebody's deployment must not leak into a measurement."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ELLQ_")}
