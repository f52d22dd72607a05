"""Client processes that are told what to do, one line of JSON after the other."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from tests.benchmarks.bench.servers import ROOT, Road, clean_environment

_STOP_SECONDS = 20.0


class Caller:
    """A client process with a channel to our server and one to the bare one. See jobs.py for what it can do."""

    def __init__(self, road: Road, bare: Road | None = None) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.bench.caller", road.target, (bare or road).target]
        if road.certificate is not None:
            command += [str(road.certificate.ca_file)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=clean_environment()
        )
        self.pid = self._process.pid

    def start(self, job: str, **fields: Any) -> None:
        """Begin a job."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"job": job, **fields}) + "\n")
        self._process.stdin.flush()

    def finish(self) -> dict[str, Any]:
        """Return what the job has told. Errors: RuntimeError when the process died of it; standard error has told why."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the client process ended with {self._process.wait(_STOP_SECONDS)}")
        return json.loads(line)

    def do(self, job: str, **fields: Any) -> dict[str, Any]:
        """Do a job."""
        self.start(job, **fields)
        return self.finish()

    def close(self) -> None:
        """End the process: it goes when nothing more can come."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def crew(roads: Sequence[Road], bare: Road | None = None) -> Iterator[list[Caller]]:
    """Give one client process for each road, and end them all."""
    callers: list[Caller] = []
    try:
        callers.extend(Caller(road, bare) for road in roads)
        yield callers
    finally:
        for caller in callers:
            caller.close()
