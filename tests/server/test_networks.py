"""What the service says of whole networks, held against the networks themselves."""

from dataclasses import replace

import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_server import held
from ellq_server.budgets import Budget
from tests.server import perceptron
from tests.server.wire import HALF, Answer, Caller, stream_of

WEIGHTS = perceptron.tensors()
STREAM = stream_of(WEIGHTS)
X = perceptron.samples()
MOMENTS = perceptron.moments(WEIGHTS, X)
NETWORK = perceptron.network()

GLOBAL = pb.SCOPE_GLOBAL


def budget(**wanted: object) -> pb.Rule:
    return pb.Rule(scope=GLOBAL, error_budget=pb.ErrorBudgetRule(**wanted))


def lasso(epsilon: float) -> pb.Rule:
    return pb.Rule(scope=pb.SCOPE_NEURON, lasso=pb.LassoRule(epsilon=epsilon))


RULES = {
    "half": HALF,
    "pooled": pb.Rule(scope=GLOBAL, fraction=pb.FractionRule(pruned_ratio=0.7)),
    "index": pb.Rule(scope=pb.SCOPE_LAYER, sparsity_index=pb.SparsityIndexRule(q=0.5, eta=0.2)),
    "tail": pb.Rule(scope=GLOBAL, tail=pb.TailRule(epsilon=0.2, p=2)),
    "box budget": budget(max_error=2.0, grade=pb.GRADE_BOX),
    "measured box budget": budget(max_error=2.0, grade=pb.GRADE_BOX, measured=True),
    "mean square budget": budget(max_error=0.3, grade=pb.GRADE_MEAN_SQUARE),
    "measured mean square budget": budget(max_error=0.3, grade=pb.GRADE_MEAN_SQUARE, measured=True),
    "least cost": budget(pruned_ratio=0.5, grade=pb.GRADE_MEAN_SQUARE),
    "lasso": lasso(0.1),
}


def written(answer: Answer) -> dict[str, np.ndarray]:
    start = 8 + int.from_bytes(answer.data[:8], "little")
    found, place = {}, start
    for name, array in WEIGHTS.items():
        found[name] = np.frombuffer(answer.data, array.dtype, array.size, place).reshape(array.shape)
        place += array.nbytes
    return found


def errors(answer: Answer, x: np.ndarray) -> np.ndarray:
    return np.abs(perceptron.forward(WEIGHTS, x)[0] - perceptron.forward(written(answer), x)[0])


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_no_grade_is_below_what_is_measured(caller: Caller, name: str, plain: bool, dead: bool) -> None:
    answer = caller.compress(
        STREAM, RULES[name], network=NETWORK, moments=MOMENTS, magnitudes_only=plain, remove_dead_neurons=dead
    )
    found = {one.grade: one for one in answer.summary.network.grades}
    assert set(found) == {pb.GRADE_BOX, pb.GRADE_BALL, pb.GRADE_MEAN_SQUARE}
    assert answer.summary.network.reaches_output
    corners = np.random.default_rng(2).choice([perceptron.LOW, perceptron.HIGH], (500, perceptron.SIZES[0]))
    worst = errors(answer, np.concatenate([X, corners]))
    assert (worst.max(axis=0) <= found[pb.GRADE_BOX].output_errors).all()
    assert np.linalg.norm(worst, axis=1).max() <= found[pb.GRADE_BALL].output_error_l2
    mean = np.sqrt((errors(answer, X) ** 2).mean(axis=0))
    assert (mean <= found[pb.GRADE_MEAN_SQUARE].output_errors).all()
    assert np.sqrt((mean**2).sum()) <= found[pb.GRADE_MEAN_SQUARE].output_error_l2
    least = min(found.values(), key=lambda one: one.output_error_max)
    assert answer.summary.network.tightest == least.grade


@pytest.mark.parametrize("name", [name for name in RULES if "budget" in name])
def test_a_budget_is_never_exceeded_and_the_rest_is_told(caller: Caller, name: str) -> None:
    rule = RULES[name].error_budget
    answer = caller.compress(STREAM, RULES[name], network=NETWORK, moments=MOMENTS)
    spent = answer.summary.network.budget
    grade = next(one for one in answer.summary.network.grades if one.grade == rule.grade)
    assert spent.certified_error == min(spent.cost, grade.output_error_max) <= rule.max_error
    assert spent.unused == rule.max_error - spent.certified_error
    assert answer.summary.zeros_after > 0


def test_a_measured_budget_cuts_more(caller: Caller) -> None:
    cut = [
        caller.compress(STREAM, RULES[name], network=NETWORK, moments=MOMENTS).summary.zeros_after
        for name in ("mean square budget", "measured mean square budget")
    ]
    assert cut[1] > cut[0]


@pytest.mark.parametrize("name", ["measured box budget", "measured mean square budget"])
def test_a_measured_budget_ends_where_one_weight_more_exceeds_it(caller: Caller, name: str) -> None:
    rule = RULES[name].error_budget
    found = caller.compress(STREAM, RULES[name], network=NETWORK, moments=MOMENTS).summary
    wider = budget(pruned_ratio=(found.weights - found.kept + 1) / found.weights, grade=rule.grade)
    exceeds = caller.compress(STREAM, wider, network=NETWORK, moments=MOMENTS).summary
    assert exceeds.kept == found.kept - 1
    error = {one.grade: one.output_error_max for one in exceeds.network.grades}[rule.grade]
    assert min(error, exceeds.network.budget.cost) > rule.max_error


def test_a_share_is_the_same_when_it_is_measured(caller: Caller) -> None:
    asked = {"network": NETWORK, "moments": MOMENTS}
    share = {"pruned_ratio": 0.5, "grade": pb.GRADE_MEAN_SQUARE}
    one, other = (caller.compress(STREAM, budget(**share, measured=measured), **asked) for measured in (False, True))
    assert one.data == other.data


def test_the_dual_cuts_its_share_at_less_cost_than_magnitude(caller: Caller) -> None:
    least = caller.compress(STREAM, RULES["least cost"], network=NETWORK, moments=MOMENTS).summary
    assert least.zeros_after == sum(array.size for name, array in WEIGHTS.items() if "weight" in name) // 2
    magnitude = pb.Rule(scope=GLOBAL, fraction=pb.FractionRule(pruned_ratio=0.5))
    other = caller.compress(STREAM, magnitude, network=NETWORK, moments=MOMENTS, magnitudes_only=True).summary
    errors = [{one.grade: one.output_error_max for one in found.network.grades} for found in (least, other)]
    assert errors[0][pb.GRADE_MEAN_SQUARE] < errors[1][pb.GRADE_MEAN_SQUARE]


@pytest.mark.parametrize("name", ["half", "pooled", "index", "tail"])
def test_a_network_changes_nothing_of_what_is_cut(caller: Caller, name: str) -> None:
    one, other = (caller.compress(STREAM, RULES[name], **asked) for asked in ({}, {"network": NETWORK}))
    assert (one.data, one.reports) == (other.data, other.reports)


def test_a_budget_leaves_alone_what_the_network_does_not_use(caller: Caller) -> None:
    tensors = WEIGHTS | {"beside.weight": np.ones((3, 5), np.float32)}
    asked = {"network": NETWORK, "moments": MOMENTS, "selection": pb.Selection(exclude=["fc*"])}
    answer = caller.compress(stream_of(tensors), RULES["box budget"], **asked)
    assert answer.data == stream_of(tensors)
    assert (answer.summary.kept, answer.summary.network.budget.cost) == (15, 0)


def test_a_budget_that_was_exceeded_all_the_same_is_no_answer(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    spend = held.spend

    def spend_more(bench: object, budget: Budget) -> object:
        return spend(bench, replace(budget, rule=replace(budget.rule, max_error=1e9)))

    monkeypatch.setattr(held, "spend", spend_more)
    refusal = caller.refused(STREAM, RULES["box budget"], network=NETWORK, moments=MOMENTS)
    assert refusal.reason == "CERTIFICATE_REFUTED"
    assert "exceeds the budget 2.0" in refusal.message


def test_selection_by_moments_reports_its_indices(caller: Caller) -> None:
    weighed = caller.compress(STREAM, HALF, moments=MOMENTS).reports["fc2.weight"]
    plain = caller.compress(STREAM, HALF, moments=MOMENTS, magnitudes_only=True).reports["fc2.weight"]
    assert weighed.measurement == plain.measurement
    assert weighed.HasField("weighed")
    assert not plain.HasField("weighed")
    assert weighed.certificate.mean_square_l2 < plain.certificate.mean_square_l2


def test_lasso_keeps_its_promise_in_every_neuron(caller: Caller) -> None:
    answer = caller.compress(STREAM, lasso(0.2), moments=MOMENTS)
    for layer, entering in enumerate(perceptron.forward(WEIGHTS, X)[1]):
        before, after = (tensors[f"fc{layer}.weight"].astype(np.float64) for tensors in (WEIGHTS, written(answer)))
        moved = np.sqrt(((entering @ (before - after).T) ** 2).mean(axis=0))
        matrix = np.frombuffer(MOMENTS[layer].matrix, "<f8").reshape(before.shape[1], -1)
        # the moments' diagonal has room for rounding (perceptron.moments), which covers that of this measurement
        assert (moved <= 0.2 * np.sqrt(np.einsum("ij,jk,ik->i", before, matrix, before))).all()
        assert moved.max() <= answer.reports[f"fc{layer}.weight"].certificate.mean_square_max


def test_dead_neurons_go_and_the_function_stays(caller: Caller) -> None:
    rule = pb.Rule(scope=GLOBAL, fraction=pb.FractionRule(pruned_ratio=0.85))
    kept = caller.compress(STREAM, rule)
    gone = caller.compress(STREAM, rule, network=NETWORK, remove_dead_neurons=True)
    dead = sum(report.allocation.dead_neurons for report in gone.reports.values())
    weights = sum(report.allocation.dead_weights for report in gone.reports.values())
    assert dead > 0
    assert weights > 0
    outputs = gone.reports["fc2.weight"].allocation
    assert (outputs.dead_neurons, outputs.dead_weights) == (0, 0)
    assert gone.summary.zeros_after == kept.summary.zeros_after + weights
    same = [perceptron.forward(written(answer), X)[0] for answer in (kept, gone)]
    np.testing.assert_array_equal(same[0], same[1])


def test_a_certificate_ends_where_no_bound_is_known(caller: Caller) -> None:
    end = pb.Node(name="attention", inputs=["fc2"], unbounded=pb.UnboundedNode(what="softmax attention"))
    wire = pb.Network(topology=perceptron.topology(end=end), inputs=NETWORK.inputs)
    found = caller.compress(STREAM, network=wire, moments=MOMENTS).summary.network
    assert not found.reaches_output
    assert found.node == "fc2"
    assert {(one.node, one.reason) for one in found.endings} == {("attention", pb.ENDING_REASON_UNBOUNDED)}
    assert all("softmax attention" in one.text for one in found.endings)
    assert {one.grade for one in found.grades} == {pb.GRADE_BOX, pb.GRADE_BALL, pb.GRADE_MEAN_SQUARE}


def test_the_certificate_ends_at_a_broken_tensor(caller: Caller) -> None:
    broken = WEIGHTS | {"fc1.bias": np.full(7, np.nan, np.float32)}
    found = caller.compress(stream_of(broken), network=NETWORK).summary.network
    assert {(one.node, one.reason) for one in found.endings} == {("fc1", pb.ENDING_REASON_NONFINITE)}
    assert found.node == "relu0"


@pytest.mark.parametrize(
    ("options", "absence"),
    [
        ({}, pb.NETWORK_CERTIFICATE_ABSENCE_NO_TOPOLOGY),
        ({"network": perceptron.network(box=None)}, pb.NETWORK_CERTIFICATE_ABSENCE_NO_INPUTS),
    ],
)
def test_the_absence_of_a_certificate_has_a_reason(caller: Caller, options: dict, absence: int) -> None:
    assert caller.compress(STREAM, **options).summary.network.absence == absence


def test_analyze_without_a_rule_has_no_certificate(caller: Caller) -> None:
    found = caller.analyze(STREAM, network=NETWORK).summary.network
    assert found.absence == pb.NETWORK_CERTIFICATE_ABSENCE_NO_RULE


def test_analyze_certifies_what_compress_would_send(caller: Caller) -> None:
    asked = {"network": NETWORK, "moments": MOMENTS}
    analysed = caller.analyze(STREAM, rule=HALF, **asked).summary
    assert analysed.network == caller.compress(STREAM, HALF, **asked).summary.network


def test_a_share_of_classes_is_certified_for_margins(caller: Caller) -> None:
    outputs = np.sort(perceptron.forward(WEIGHTS, X)[0], axis=1)
    margins = (outputs[:, -1] - outputs[:, -2]).tolist()
    rule = pb.Rule(scope=GLOBAL, fraction=pb.FractionRule(pruned_ratio=0.05))
    answer = caller.compress(STREAM, rule, network=perceptron.network(margins=margins), moments=MOMENTS)
    before = perceptron.forward(WEIGHTS, X)[0].argmax(axis=1)
    after = perceptron.forward(written(answer), X)[0].argmax(axis=1)
    for grade in answer.summary.network.grades:
        assert grade.unchanged_share <= (before == after).mean()
    assert max(grade.unchanged_share for grade in answer.summary.network.grades) > 0


def test_a_payload_too_large_to_hold_goes_without_the_networks_certificate(serve: object) -> None:
    small = serve(memory_bytes=(128 << 20) + 200_000)  # which holds a quarter of 200 000 bytes at once
    stream = stream_of(WEIGHTS | {f"counter{i}": np.zeros(1250, np.int64) for i in range(10)})
    absent = small.compress(stream, network=NETWORK).summary.network
    assert absent.absence == pb.NETWORK_CERTIFICATE_ABSENCE_TOO_LARGE
    assert small.refused(stream, network=NETWORK, remove_dead_neurons=True).reason == "SKETCH_REQUIRED"


def test_a_certificate_is_the_same_with_and_without_its_dead_neurons(caller: Caller) -> None:
    rule = pb.Rule(scope=GLOBAL, fraction=pb.FractionRule(pruned_ratio=0.85))
    asked = {"network": NETWORK, "moments": MOMENTS}
    kept, gone = (caller.compress(STREAM, rule, **asked, remove_dead_neurons=dead).summary for dead in (False, True))
    assert gone.zeros_after > kept.zeros_after
    for found in (gone.network, kept.network):
        found.ClearField("layers")  # these speak of all neurons, the dead ones too
    assert gone.network == kept.network


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("ratio", [0.5, 0.85])
def test_no_effect_of_a_layer_is_below_what_is_measured(caller: Caller, ratio: float, dead: bool) -> None:
    rule = pb.Rule(scope=GLOBAL, fraction=pb.FractionRule(pruned_ratio=ratio))
    answer = caller.compress(STREAM, rule, network=NETWORK, moments=MOMENTS, remove_dead_neurons=dead)
    effects = {(one.node, one.grade): one for one in answer.summary.network.layers}
    assert len(effects) == 9
    weights = written(answer)
    before, after = (perceptron.forward(tensors, X)[1] for tensors in (WEIGHTS, weights))
    for layer, (entered, entering) in enumerate(zip(before, after, strict=True)):
        whole, left = (tensors[f"fc{layer}.weight"].astype(np.float64).T for tensors in (WEIGHTS, weights))
        own, moved = entered @ (left - whole), entering @ left - entered @ whole
        for grade, most in ((pb.GRADE_BOX, worst), (pb.GRADE_BALL, worst), (pb.GRADE_MEAN_SQUARE, mean)):
            effect = effects[f"fc{layer}", grade]
            assert most(own)[0] <= effect.own_error_max
            assert most(own)[1] <= effect.own_error_l2
            assert most(moved)[0] <= effect.error_max
            assert most(moved)[1] <= effect.error_l2


def worst(errors: np.ndarray) -> tuple[float, float]:
    return np.abs(errors).max(), np.linalg.norm(errors, axis=1).max()


def mean(errors: np.ndarray) -> tuple[float, float]:
    return np.sqrt((errors**2).mean(axis=0)).max(), np.sqrt((errors**2).sum(axis=1).mean())


def test_nothing_is_said_where_nothing_is_bounded(caller: Caller) -> None:
    first = pb.Node(name="norm", inputs=["x"], unbounded=pb.UnboundedNode(what="layer norm"))
    wire = perceptron.network()
    wire.topology.nodes.append(first)
    next(node for node in wire.topology.nodes if node.name == "fc0").inputs[0] = "norm"
    found = caller.compress(STREAM, network=wire).summary.network
    assert found.absence == pb.NETWORK_CERTIFICATE_ABSENCE_UNBOUNDED
    assert not found.grades
    assert {ending.node for ending in found.endings} == {"norm"}
