"""Compresses a generated checkpoint of gigabytes by the command line, kills client and server, and holds memory to its limits.

    python -m tests.benchmarks.large --gigabytes 8 --shards 20 --kills 20

Needs twice its size on the disk of `--folder`. Prints a table, and ends with 1 when a limit was broken or a byte differed.
"""

import argparse
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.benchmarks.large.llama import write_llama
from tests.benchmarks.large.processes import Peaks, Strikes, Told, Watched, finish, left_alone

CLIENT_BYTES = 200_000_000
SERVER_BYTES = 300_000_000
"""Beside three times the largest tensor for each stream."""

_MARKS = (0.25, 0.5, 0.75)


def main() -> None:
    """Run, tell, and say whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=8.0)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--streams", type=int, default=1, help="shards under way at a time; each takes its memory")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="where there is room; default: that of temporary files")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ellq-large-", dir=chosen.folder) as place:
        problems = list(run(Path(place), chosen))
    for problem in problems:
        print(f"VIOLATED: {problem}")
    sys.exit(bool(problems))


def run(place: Path, chosen: argparse.Namespace) -> Iterator[str]:
    """Do everything in a folder, printing what is found, and yield what is not as it must be."""
    source, output = place / "model", place / "out"
    tensors = write_llama(source, size_bytes=round(chosen.gigabytes * 1e9), shards=chosen.shards, seed=chosen.seed)
    total, largest = sum(tensor.size_bytes for tensor in tensors), max(tensor.size_bytes for tensor in tensors)
    row(
        "checkpoint",
        f"{total / 1e9:.2f} GB bf16 in {chosen.shards} shards, {len(tensors)} tensors, largest {largest / 1e6:.0f} MB",
    )
    peaks = Peaks()
    server = Watched(place, peaks, streams=chosen.streams)
    try:
        seconds, told = left_alone(server, source, output)
        row("left alone", f"{seconds:.1f} s, {total / seconds / 1e6:.0f} MB/s")
        tell_time(told)
        reference = digests(output)
        strikes = Strikes(chosen.kills, seconds / 3, Random(chosen.seed))
        finished = 0
        while strikes.left > 0:
            shutil.rmtree(output)
            finish(server, source, output, strikes)
            finished += 1
            found = digests(output)
            yield from (f"{name} differs after kills" for name in reference | found if reference.get(name) != found.get(name))
    finally:
        server.kill()
    hits = strikes.told
    row("kills", f"{hits['client']} of the client, {hits['server']} of the server, {hits['too late']} too late")
    row("finished outputs", f"{finished}, each compared file by file with the one left alone")
    for kind, limit in (("server", SERVER_BYTES + 3 * largest * chosen.streams), ("client", CLIENT_BYTES)):
        row(f"peak of the {kind}", f"{peaks.bytes[kind] / 1e6:.0f} MB of {limit / 1e6:.0f} MB allowed")
        if not 0 < peaks.bytes[kind] <= limit:
            yield f"the {kind} held {peaks.bytes[kind]} bytes, allowed are {limit}"


def tell_time(told: list[Told]) -> None:
    """Print the first line past each mark, beside what was so."""
    if not told:
        row("time that remains", "never told: the checkpoint is too small")
    for mark in _MARKS:
        if line := next((one for one in told if one.share >= mark), None):
            error = line.told_seconds - line.true_seconds
            was = f"told {line.told_seconds:.0f} s, true {line.true_seconds:.1f} s: {error:+.1f} s"
            row(f"left at {line.share:.0%}", was)


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file, by name."""
    return {path.relative_to(folder).as_posix(): digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def row(name: str, value: str) -> None:
    """Print a line of the table."""
    print(f"{name:20} {value}", flush=True)


if __name__ == "__main__":
    main()
