"""Small tensors that are worked on together become what they become alone."""

from collections.abc import Callable

import grpc
import ml_dtypes
import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_kernels.cpu.maker import CpuKernels
from ellq_kernels.cpu.weights import CpuWeights
from ellq_math.values import Cut, Tails
from ellq_server import runs
from ellq_server.header import TensorEntry
from ellq_server.planning import plan_tensors
from ellq_server.runs import RUN_BYTES, RUN_ROWS, RUN_TENSORS, runs_of
from ellq_server.selections import Selection
from tests.server.wire import HALF, Answer, Caller, stream_of

RULES = {
    "half": HALF,
    "tail": pb.Rule(scope=pb.SCOPE_NEURON, tail=pb.TailRule(epsilon=0.1, p=2)),
    "index": pb.Rule(scope=pb.SCOPE_NEURON, sparsity_index=pb.SparsityIndexRule(q=0.5)),
    "pairs": pb.Rule(scope=pb.SCOPE_NEURON, n_of_m=pb.NOfMRule(n=1, m=2)),
    "layer": pb.Rule(scope=pb.SCOPE_LAYER, fraction=pb.FractionRule(pruned_ratio=0.5)),
}


def mixed() -> dict[str, np.ndarray]:
    """Tensors of two lengths of rows in turn, biases between them, other dtypes, and what is never worked on with others."""
    random, tensors = np.random.default_rng(0), dict[str, np.ndarray]()
    for i in range(8):
        tensors[f"down.{i}"] = random.standard_normal((3 + i, 20)).astype(np.float32)
        tensors[f"bias.{i}"] = random.standard_normal(20).astype(np.float32)
        tensors[f"up.{i}"] = random.standard_normal((20, 4)).astype(np.float32)
        tensors[f"turned.{i}"] = random.standard_normal((20, 5)).astype(np.float32)
    tensors["wide"] = random.standard_normal((6, 20)) * 1e-200
    tensors["wider"] = random.standard_normal((2, 20)) * 1e200
    tensors["half"] = random.standard_normal((6, 20)).astype(ml_dtypes.bfloat16)
    tensors["eight"] = random.standard_normal((6, 20)).astype(ml_dtypes.float8_e4m3fn)
    tensors["eight.more"] = random.standard_normal((4, 20)).astype(ml_dtypes.float8_e4m3fn)
    tensors["zero"] = np.zeros((2, 20), np.float32)
    return tensors


SELECTION = pb.Selection(
    overrides=[
        pb.TensorOverride(glob="turned.*", neuron_axis=[1]),
        pb.TensorOverride(glob="up.[45]", rule=pb.Rule(scope=pb.SCOPE_NEURON, fraction=pb.FractionRule(pruned_ratio=0.25))),
    ]
)


def told(answer: Answer) -> tuple[object, ...]:
    """Return all of an answer that must not differ from call to call."""
    answer.summary.ClearField("timings")
    return answer.data, answer.reports, answer.neurons, answer.summary


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called, every tensor is worked on alone."""
    return lambda: monkeypatch.setattr(runs, "RUN_BYTES", 0)


@pytest.mark.parametrize("rule", RULES)
def test_compressed_together_as_alone(caller: Caller, alone: Callable[[], None], rule: str) -> None:
    wanted = {"rule": RULES[rule], "selection": SELECTION, "neuron_reports": True}
    together = told(caller.compress(stream_of(mixed()), **wanted))
    alone()
    assert together == told(caller.compress(stream_of(mixed()), **wanted))


@pytest.mark.parametrize(
    "wanted", [{}, {"rule": HALF}, {"distribution": True}, {"rule": RULES["layer"], "neuron_reports": True}]
)
def test_analysed_together_as_alone(caller: Caller, alone: Callable[[], None], wanted: dict[str, object]) -> None:
    together = told(caller.analyze(stream_of(mixed()), **wanted))
    alone()
    assert together == told(caller.analyze(stream_of(mixed()), **wanted))


def test_kernels_are_asked_once_for_rows_of_one_length(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    measure = CpuKernels.measure

    def counted(self: CpuKernels, weights: object, orders: tuple[float, ...]) -> object:
        asked.append((weights.neurons, weights.fan_in))
        return measure(self, weights, orders)

    monkeypatch.setattr(CpuKernels, "measure", counted)
    tensors = {name: weights for name, weights in mixed().items() if name.startswith(("down", "up", "bias"))}
    caller.compress(stream_of(tensors))
    assert asked == [(sum(3 + i for i in range(8)), 20), (160, 4)]


@pytest.mark.parametrize("where", [["down.3", "up.5"], ["up.2", "down.6"]])
def test_the_first_that_is_not_finite_is_named(caller: Caller, where: list[str]) -> None:
    tensors = mixed()
    for name in where:
        tensors[name][2, 1] = np.nan
    refusal = caller.refused(stream_of(tensors))
    assert refusal.reason == "NONFINITE_WEIGHT"
    assert refusal.message.startswith(f"tensor '{where[0]}' holds NaN or infinity at index [2, 1]")


def test_only_what_is_not_finite_passes_through(caller: Caller, alone: Callable[[], None]) -> None:
    tensors = mixed()
    tensors["up.5"][0, 0] = np.inf
    stream, wanted = stream_of(tensors), {"nonfinite": pb.NONFINITE_POLICY_PASS_THROUGH}
    together = caller.compress(stream, **wanted)
    assert [name for name, report in together.reports.items() if report.reason == pb.PASS_THROUGH_REASON_NONFINITE] == ["up.5"]
    alone()
    assert told(together) == told(caller.compress(stream, **wanted))


def test_what_is_wrong_with_the_first_is_told_before_what_is_missing(caller: Caller) -> None:
    tensors = mixed()
    assert caller.refused(stream_of(tensors)[:-200]).reason == "TRUNCATED_STREAM"
    tensors["up.2"][0, 0] = np.nan
    assert caller.refused(stream_of(tensors)[:-200]).reason == "NONFINITE_WEIGHT"


@pytest.mark.parametrize(("rows", "named"), [(0, "tensor 'a', neuron 2"), (3, "tensor 'a to b', neuron 5")])
def test_a_certificate_above_its_bound_ends_the_call(
    serve: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch, rows: int, named: str
) -> None:
    """Even where the kernels are right about each tensor alone."""
    caller, sound = serve(), CpuKernels.apply

    def understated(self: CpuKernels, weights: CpuWeights, cut: Cut, *, keys: object = None) -> Tails:
        found = sound(self, weights, cut, keys=keys)
        if weights.neurons > rows:
            found.l1[-1] *= 1e6
        return found

    monkeypatch.setattr(CpuKernels, "apply", understated)
    tensors = {name: np.ones((3, 8), np.float32) for name in "ab"[: rows + 1]}
    refusal = caller.refused(stream_of(tensors))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INTERNAL, "CERTIFICATE_REFUTED")
    assert refusal.message.startswith(named)


def plans_of(shapes: list[tuple[int, ...]]) -> list[object]:
    entries, end = [], 0
    for place, shape in enumerate(shapes):
        length = 4 * int(np.prod(shape))
        entries.append(TensorEntry(f"tensor{place}", "F32", shape, end, end + length))
        end += length
    return list(plan_tensors(entries, Selection((), (), ())).plans)


@pytest.mark.parametrize(
    ("shapes", "lengths"),
    [
        ([], []),
        ([(2, 2)] * 5, [5]),
        ([(RUN_BYTES // 4,)], [1]),
        ([(2, 2), (RUN_BYTES // 4,), (2, 2)], [1, 1, 1]),
        ([(2, RUN_BYTES // 8 + 1), (2, 2), (2, 2)], [1, 2]),
        ([(4, RUN_BYTES // 32)] * 5, [2, 2, 1]),
        ([(RUN_ROWS // 2, 1)] * 5, [2, 2, 1]),
        ([(RUN_ROWS + 1, 1), (2, 2)], [1, 1]),
        ([(1, 1)] * (2 * RUN_TENSORS + 1), [RUN_TENSORS, RUN_TENSORS, 1]),
        ([(0,)] * (RUN_TENSORS + 1), [RUN_TENSORS, 1]),
    ],
)
def test_runs_keep_to_their_bounds_and_the_order(shapes: list[tuple[int, ...]], lengths: list[int]) -> None:
    plans = plans_of(shapes)
    found = list(runs_of(plans))
    assert [plan for run in found for plan in run] == plans
    assert [len(run) for run in found] == lengths
