"""Every option outside its range is refused with its field path, what is allowed and what was got."""

import math

import grpc
import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from tests.server.wire import HALF, Caller, stream_of

STREAM = stream_of({"w": np.ones((2, 2), np.float32)})
NEURON = pb.SCOPE_NEURON


def sparsity(**changed: float) -> pb.Rule:
    return pb.Rule(scope=NEURON, sparsity_index=pb.SparsityIndexRule(**{"q": 0.5, "eta": 0.0} | changed))


def pq(**changed: float) -> pb.Rule:
    wanted = {"p": 0.5, "q": 1.0, "eta": 0.0, "gamma": 1.0, "beta": 0.9} | changed
    return pb.Rule(scope=NEURON, pq_index=pb.PqIndexRule(**wanted))


def tail(**changed: float) -> pb.Rule:
    return pb.Rule(scope=NEURON, tail=pb.TailRule(**{"epsilon": 0.1, "p": 1} | changed))


def bound(**changed: float) -> pb.Rule:
    return pb.Rule(scope=NEURON, lq_bound=pb.LqBoundRule(**{"epsilon": 0.1, "q": 0.5, "p": 1} | changed))


def groups(n: int, m: int, scope: pb.Scope = NEURON) -> pb.Rule:
    return pb.Rule(scope=scope, n_of_m=pb.NOfMRule(n=n, m=m))


REFUSED = [
    *[(sparsity(q=q), "INVALID_Q", "sparsity_index.q", "[0.05, 1)") for q in (0.0, 0.049, 1.0, -1.0, math.nan, math.inf)],
    *[(sparsity(eta=eta), "INVALID_ETA", "sparsity_index.eta", "[0, inf)") for eta in (-0.1, math.nan, math.inf)],
    *[(pq(p=p), "INVALID_P", "pq_index.p", "[0.05, 2)") for p in (0.0, 2.0, math.nan)],
    *[(pq(q=q), "INVALID_Q", "pq_index.q", "(0.5, 2]") for q in (0.5, 0.4, 2.1, math.nan)],
    *[(pq(gamma=gamma), "INVALID_GAMMA", "pq_index.gamma", "(0, inf)") for gamma in (0.0, -1.0, math.inf, math.nan)],
    *[(pq(beta=beta), "INVALID_BETA", "pq_index.beta", "(0, 1]") for beta in (0.0, 1.1, math.nan)],
    *[(tail(epsilon=e), "INVALID_EPSILON", "tail.epsilon", "(0, 1)") for e in (0.0, 1.0, -0.5, math.nan)],
    *[(tail(p=p), "INVALID_P", "tail.p", "1 or 2") for p in (0, 3)],
    *[(bound(epsilon=e), "INVALID_EPSILON", "lq_bound.epsilon", "(0, 1)") for e in (0.0, 1.0)],
    (bound(q=1.0), "INVALID_Q", "lq_bound.q", "[0.05, 1)"),
    (bound(p=0), "INVALID_P", "lq_bound.p", "1 or 2"),
    *[
        (pb.Rule(scope=NEURON, fraction=pb.FractionRule(pruned_ratio=r)), "INVALID_RATIO", "fraction.pruned_ratio", "(0, 1)")
        for r in (0.0, 1.0, math.nan)
    ],
    (groups(0, 4), "INVALID_GROUP", "n_of_m.n", "[1, 4)"),
    (groups(4, 4), "INVALID_GROUP", "n_of_m.n", "[1, 4)"),
    (groups(1, 1025), "INVALID_GROUP", "n_of_m.m", "[2, 1024]"),
]


@pytest.mark.parametrize(("rule", "reason", "path", "allowed"), REFUSED)
def test_a_parameter_outside_its_range_is_refused(caller: Caller, rule: pb.Rule, reason: str, path: str, allowed: str) -> None:
    refusal = caller.refused(STREAM, rule)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == reason
    assert refusal.field == f"options.rule.{path}"
    assert refusal.field in refusal.message
    assert allowed in refusal.message


FRACTION = pb.FractionRule(pruned_ratio=0.5)
BUDGET_WITHOUT_GRADE = pb.Rule(scope=pb.SCOPE_GLOBAL, error_budget=pb.ErrorBudgetRule(max_error=1.0))


@pytest.mark.parametrize(
    ("options", "reason", "field"),
    [
        ({"rule": pb.Rule(scope=NEURON)}, "INVALID_RULE", "options.rule"),
        ({"rule": pb.Rule(fraction=FRACTION)}, "INVALID_SCOPE", "options.rule.scope"),
        ({"rule": pb.Rule(scope=9, fraction=FRACTION)}, "INVALID_SCOPE", "options.rule.scope"),
        ({"rule": groups(2, 4, pb.SCOPE_LAYER)}, "INVALID_SCOPE", "options.rule.scope"),
        ({"indices": pb.IndexOptions(q=1.5)}, "INVALID_Q", "options.indices.q"),
        ({"indices": pb.IndexOptions(pq_p=0.5)}, "INVALID_Q", "options.indices.pq_q"),
        ({"indices": pb.IndexOptions(pq_q=1.0)}, "INVALID_P", "options.indices.pq_p"),
        ({"nonfinite": 7}, "INVALID_ENUM", "options.nonfinite"),
        ({"encoding": 7}, "INVALID_ENUM", "options.encoding"),
        ({"sketch": pb.Sketch()}, "INVALID_SKETCH", "options.sketch"),
        ({"selection": pb.Selection(include=["a"] * 1001)}, "INVALID_GLOB", "options.selection.include"),
        (
            {"selection": pb.Selection(overrides=[pb.TensorOverride(glob="a", skip=True)] * 1001)},
            "INVALID_GLOB",
            "options.selection.overrides",
        ),
        ({"selection": pb.Selection(exclude=["ok", ""])}, "INVALID_GLOB", "options.selection.exclude[1]"),
        ({"selection": pb.Selection(exclude=["x" * 1025])}, "INVALID_GLOB", "options.selection.exclude[0]"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(caller: Caller, options: dict[str, object], reason: str, field: str) -> None:
    refusal = caller.refused(STREAM, **{"rule": HALF} | options)
    assert (refusal.code, refusal.reason, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, reason, field)


@pytest.mark.parametrize(
    ("override", "reason", "field"),
    [
        (pb.TensorOverride(glob="w"), "INVALID_OVERRIDE", ""),
        (pb.TensorOverride(glob="w", skip=False), "INVALID_OVERRIDE", ".skip"),
        (pb.TensorOverride(glob="", skip=True), "INVALID_GLOB", ".glob"),
        (pb.TensorOverride(glob="w", neuron_axis=[1, 0]), "INVALID_NEURON_AXIS", ".neuron_axis"),
        (pb.TensorOverride(glob="w", neuron_axis=[1, 1]), "INVALID_NEURON_AXIS", ".neuron_axis"),
        (pb.TensorOverride(glob="w", rule=pb.Rule(scope=pb.SCOPE_GLOBAL, fraction=FRACTION)), "INVALID_SCOPE", ".rule.scope"),
        (pb.TensorOverride(glob="w", rule=sparsity(q=2.0)), "INVALID_Q", ".rule.sparsity_index.q"),
        (pb.TensorOverride(glob="w", rule=BUDGET_WITHOUT_GRADE), "INVALID_ENUM", ".rule.error_budget.grade"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused(
    caller: Caller, override: pb.TensorOverride, reason: str, field: str
) -> None:
    refusal = caller.refused(STREAM, selection=pb.Selection(overrides=[override]))
    assert (refusal.reason, refusal.field) == (reason, f"options.selection.overrides[0]{field}")


@pytest.mark.parametrize("axis", [[2], [0, 1], [0, 5]])
def test_axes_that_a_tensor_does_not_have_are_refused(caller: Caller, axis: list[int]) -> None:
    refusal = caller.refused(STREAM, selection=pb.Selection(overrides=[pb.TensorOverride(glob="w", neuron_axis=axis)]))
    assert refusal.reason == "INVALID_NEURON_AXIS"
    assert "'w' of shape [2, 2]" in refusal.message


def test_compress_without_a_rule_is_refused(caller: Caller) -> None:
    with pytest.raises(grpc.RpcError, match="needs a rule"):
        caller.compress_frames([pb.CompressRequest(options=pb.CompressOptions())])


@pytest.mark.parametrize("field", ["include", "exclude", "overrides"])
def test_as_many_globs_as_are_allowed_of_any_length_are_taken(caller: Caller, field: str) -> None:
    globs = ["x" * 1024] + ["a"] * 999
    given = [pb.TensorOverride(glob=glob, skip=True) for glob in globs] if field == "overrides" else globs
    assert caller.compress(STREAM, HALF, selection=pb.Selection(**{field: given})).summary.tensors == 1


def test_globs_that_match_nothing_are_warnings(caller: Caller) -> None:
    override = pb.TensorOverride(glob="nor-this", skip=True)
    selection = pb.Selection(include=["w", "no-such-*"], exclude=["nothing"], overrides=[override])
    answer = caller.compress(STREAM, selection=selection)
    assert [warning.subject for warning in answer.summary.warnings] == ["no-such-*", "nothing", "nor-this"]
    assert {warning.code for warning in answer.summary.warnings} == {pb.WARNING_CODE_GLOB_WITHOUT_MATCH}


def test_too_many_orders_of_power_sums_are_refused(caller: Caller) -> None:
    """Each costs tables and a pass over every tensor."""
    rules = [
        pb.Rule(scope=NEURON, pq_index=pb.PqIndexRule(p=0.1 + i / 1e4, q=1.1 + i / 1e4, gamma=1, beta=1)) for i in range(8)
    ]
    tensors = stream_of({f"w{i}": np.ones((2, 2), np.float32) for i in range(8)})
    overrides = [pb.TensorOverride(glob=f"w{i}", rule=rule) for i, rule in enumerate(rules)]
    refusal = caller.refused(tensors, selection=pb.Selection(overrides=overrides))
    assert refusal.reason == "INVALID_RULE"
    assert "19 different orders; at most 16" in refusal.message


@pytest.mark.parametrize(
    ("names", "globs"),
    [
        ([f"{i:04}" + "a" * 4000 for i in range(1000)], ["*" + "a" * 900 + "b"] * 100),
        ([str(i) for i in range(20_000)], ["?"] * 1000),
    ],
    ids=["pathological", "many"],
)
def test_globs_that_would_take_minutes_are_refused(caller: Caller, names: list[str], globs: list[str]) -> None:
    refusal = caller.refused(stream_of({name: np.zeros(0, np.uint8) for name in names}), selection=pb.Selection(include=globs))
    assert (refusal.reason, refusal.field) == ("INVALID_GLOB", "options.selection")
