"""The client process: `python -m tests.benchmarks.bench.caller TARGET BARE_TARGET [CA_FILE]`, jobs on standard input.

Answers each job with one line: what the job returns, when it began and ended on the clock that all processes share, and what
it took of this process.
"""

import json
import os
import sys
import time

from tests.benchmarks.bench.jobs import JOBS, Connections
from tests.benchmarks.bench.procfs import peak_bytes


def main(target: str, bare_target: str, ca_file: str | None = None) -> None:
    """Do jobs until standard input ends."""
    with Connections(target, bare_target, ca_file) as connections:
        for line in sys.stdin:
            fields = json.loads(line)
            job = JOBS[fields.pop("job")]
            started, cpu = time.monotonic(), time.process_time()
            told = job(connections, **fields)
            taken = {"started": started, "ended": time.monotonic(), "cpu_seconds": time.process_time() - cpu}
            print(json.dumps({**taken, "peak_bytes": peak_bytes(os.getpid()), **told}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
