"""Things that take turns, and how they compare."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from tests.benchmarks.bench.callers import Caller
from tests.benchmarks.bench.procfs import cpu_seconds
from tests.benchmarks.bench.servers import Server

Name = TypeVar("Name", bound=Hashable)
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Trial:
    """What one turn took."""

    size_bytes: int
    seconds: float
    server_cpu_seconds: float
    client_cpu_seconds: float

    @property
    def gb_a_second(self) -> float:
        """Rate of the bytes that went up, in 10^9 bytes a second."""
        return self.size_bytes / self.seconds / 1e9


def trial(servers: Sequence[Server], jobs: Sequence[tuple[Caller, str, Mapping[str, object]]]) -> Trial:
    """Do jobs at the same time, one to a caller, and return what they took from the first start to the last end."""
    before = [cpu_seconds(server.pid) for server in servers]
    for caller, job, fields in jobs:
        caller.start(job, **fields)
    told = [caller.finish() for caller, _, _ in jobs]
    return Trial(
        size_bytes=sum(each["bytes"] for each in told),
        seconds=max(each["ended"] for each in told) - min(each["started"] for each in told),
        server_cpu_seconds=sum(cpu_seconds(server.pid) for server in servers) - sum(before),
        client_cpu_seconds=sum(each["cpu_seconds"] for each in told),
    )


def alternate(contenders: Mapping[Name, Callable[[], Outcome]], rounds: int) -> dict[Name, list[Outcome]]:
    """Let each have its turn in every round, and return the outcomes of all rounds but a first one, which warms up.

    The order turns round each time, so that nobody always follows the same one.
    """
    outcomes: dict[Name, list[Outcome]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        names = list(contenders)[:: 1 if number % 2 else -1]
        for name in names:
            outcome = contenders[name]()
            if number:
                outcomes[name].append(outcome)
    return outcomes


def ratio(ours: Sequence[Trial], others: Sequence[Trial]) -> dict[str, float]:
    """Return the median of the ratios of rates round by round, with the extremes, and the rates beside them."""
    ratios = [one.gb_a_second / other.gb_a_second for one, other in zip(ours, others, strict=True)]
    return {
        "ratio": median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "gb_a_second": median(one.gb_a_second for one in ours),
        "ceiling_gb_a_second": median(other.gb_a_second for other in others),
    }


def cpu_seconds_a_gb(trials: Sequence[Trial]) -> tuple[float, float]:
    """Return the processor time of servers and of clients for 10^9 bytes, over all trials."""
    gigabytes = sum(each.size_bytes for each in trials) / 1e9
    server = sum(each.server_cpu_seconds for each in trials) / gigabytes
    return server, sum(each.client_cpu_seconds for each in trials) / gigabytes
