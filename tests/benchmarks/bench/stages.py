"""Our server and the bare one on the same kind of road, with clients that know both."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from ellq.v1.frames import FRAME_BYTES
from tests.benchmarks.bench.callers import Caller, crew
from tests.benchmarks.bench.checkpoints import Dtype
from tests.benchmarks.bench.duels import Trial, alternate, cpu_seconds_a_gb, ratio, trial
from tests.benchmarks.bench.records import Record
from tests.benchmarks.bench.scales import Scale
from tests.benchmarks.bench.servers import Road, bare_server, ellq_server

STREAMS = 2


@dataclass(frozen=True)
class Case:
    """Something to measure."""

    name: str
    job: str
    dtype: Dtype
    into: str = ""
    """Where compressed weights go: "memory" or "file"."""
    streams: int = 1


@dataclass
class Stage:
    """Both servers of one road, with clients that know both."""

    road: Road
    bare_road: Road
    scale: Scale
    folder: Path
    files: dict[Dtype, Path]
    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        with self.stack:  # what has started ends when the rest does not start
            self.ours = self.stack.enter_context(ellq_server(self.road, self.folder))
            self.bare = self.stack.enter_context(bare_server(self.bare_road, self.folder))
            self.callers = self.stack.enter_context(crew([self.road] * STREAMS, self.bare_road))
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def ceilings(self) -> Iterator[Record]:
        """Yield what the bare server does with messages of several sizes."""
        contenders = {
            f"{way} {chunk / 2**20:g} MiB": lambda way=way, chunk=chunk: self._bare_trial(way, 1, chunk)
            for chunk in self.scale.chunk_bytes
            for way in ("upload", "echo")
        }
        for name, trials in alternate(contenders, self.scale.rounds).items():
            server, client = cpu_seconds_a_gb(trials)
            yield {
                "bench": "wire_ceilings",
                "case": name,
                "gb_a_second": max(each.gb_a_second for each in trials),
                "server_cpu_seconds_a_gb": server,
                "client_cpu_seconds_a_gb": client,
            }

    def measured(self, case: Case, *, over: str) -> Record:
        """Return a case in turns with its ceiling."""
        way = "upload" if case.job == "analyze" else "echo"
        contenders = {
            "ours": lambda: self._our_trial(case, case.streams),
            "ceiling": lambda: self._bare_trial(way, case.streams, FRAME_BYTES),
        }
        if case.streams > 1:
            contenders["one stream"] = lambda: self._our_trial(case, 1)
        if case.into == "file":
            contenders["disk"] = lambda: self._disk_trial()
        found = alternate(contenders, self.scale.rounds)
        server, client = cpu_seconds_a_gb(found["ours"])
        bare_server_seconds, bare_client_seconds = cpu_seconds_a_gb(found["ceiling"])
        streams = "1 stream" if case.streams == 1 else f"{case.streams} streams"
        record = {
            "bench": "wire",
            "case": f"{case.name}, {over}, {streams}",
            **ratio(found["ours"], found["ceiling"]),
            "server_cpu_seconds_a_gb": server,
            "client_cpu_seconds_a_gb": client,
            "ceiling_server_cpu_seconds_a_gb": bare_server_seconds,
            "ceiling_client_cpu_seconds_a_gb": bare_client_seconds,
        }
        if "one stream" in found:
            record["times_one_stream"] = ratio(found["ours"], found["one stream"])["ratio"]
        if "disk" in found:
            record["disk_gb_a_second"] = ratio(found["ours"], found["disk"])["ceiling_gb_a_second"]
        return record

    def _our_trial(self, case: Case, streams: int) -> Trial:
        return trial([self.ours], [(caller, case.job, self._fields(case, caller)) for caller in self.callers[:streams]])

    def _bare_trial(self, way: str, streams: int, chunk_bytes: int) -> Trial:
        fields = {"size_bytes": self.scale.wire_bytes, "chunk_bytes": chunk_bytes}
        return trial([self.bare], [(caller, f"bare_{way}", fields) for caller in self.callers[:streams]])

    def _disk_trial(self) -> Trial:
        output = self.folder / "plain.bytes"
        fields = {"size_bytes": self.scale.wire_bytes, "chunk_bytes": FRAME_BYTES, "output": str(output)}
        return trial([], [(self.callers[0], "write_file", fields)])

    def _fields(self, case: Case, caller: Caller) -> dict[str, object]:
        files = [str(self.files[case.dtype])]
        if case.job == "analyze":
            return {"files": files}
        output = str(self.folder / f"compressed-{caller.pid}.safetensors") if case.into == "file" else None
        return {"files": files, "output": output}
