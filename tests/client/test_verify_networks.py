"""What a report promises of a whole network is recomputed from what was handed in, and what cannot be is named."""

import json
from fractions import Fraction as Exact

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ellq_client import (
    ClaimRefuted,
    EllqError,
    ErrorBudget,
    Fraction,
    InvalidNetwork,
    Lasso,
    Override,
    ReportError,
    SparsityIndex,
    Tail,
    verify,
    write_report,
)
from ellq_client.networks import Calibration, Conv, Input, Linear, Relu, Reshape, TensorMoments, chain
from ellq_client.verifying.pairs import verification_text

RANDOM = np.random.default_rng(11)
NETWORK = chain(
    Input(2, 6, 6),
    Conv("conv.weight", "conv.bias", padding=1),
    Relu(),
    Reshape(),
    Linear("hidden.weight", "hidden.bias"),
    Relu(),
    Linear("out.weight", transposed=True),
).with_inputs(box=(-1, 1), l2_radius=5, margins=RANDOM.exponential(size=200))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Return a small network with a tensor beside it that it does not use."""
    weights = {
        "conv.weight": RANDOM.normal(size=(3, 2, 3, 3)).astype(np.float32),
        "conv.bias": RANDOM.normal(size=3).astype(np.float32),
        "hidden.weight": (RANDOM.normal(size=(12, 108)) ** 3).astype(np.float32),
        "hidden.bias": RANDOM.normal(size=12).astype(np.float32),
        "out.weight": RANDOM.normal(size=(12, 4)).astype(np.float16),
        "beside.weight": RANDOM.normal(size=(5, 7)),
    }
    path = tmp_path_factory.mktemp("original") / "model.safetensors"
    save_file(weights, path)
    return path


def moments_of(fan_in: int) -> TensorMoments:
    inputs = RANDOM.normal(size=(200, fan_in)) @ RANDOM.normal(size=(fan_in, fan_in)) / np.sqrt(fan_in)
    matrix = inputs.T @ inputs / 200
    return TensorMoments(np.diagonal(matrix) * (1 + 1e-9), matrix[np.newaxis])


MOMENTS = Calibration({"conv.weight": moments_of(18), "hidden.weight": moments_of(108), "out.weight": moments_of(12)}, 200)
OF_NETWORK = {"exclude": ["beside*"]}
REQUESTS = {
    "magnitudes": {"rule": Fraction(pruned_ratio=0.3), "magnitudes_only": True},
    "by inputs": {"rule": Tail(epsilon=0.2, p=2), "neurons": True},
    "by inputs and layer": {"rule": SparsityIndex(q=0.5, scope="layer")},
    "by inputs over all": {"rule": Fraction(pruned_ratio=0.6, scope="global"), **OF_NETWORK},
    "budget": {"rule": ErrorBudget(max_error=3.0)},
    "budget of a share": {"rule": ErrorBudget(pruned_ratio=0.5, grade="box")},
    "measured budget": {"rule": ErrorBudget(max_error=3.0, measured=True)},
    "lasso": {"rule": Lasso(epsilon=0.3), "neurons": True, **OF_NETWORK},
    "dead neurons": {
        "rule": Fraction(pruned_ratio=0.9, scope="layer"),
        "overrides": [Override("conv*", skip=True)],
        "remove_dead_neurons": True,
    },
}
UNCHECKABLE = {"lasso": 1, "measured budget": 1}


def compressed(client, original, place, **options):
    output, report = place / "small.safetensors", place / "report.json"
    write_report(client.compress(original, output, network=NETWORK, moments=MOMENTS, **options).result(), report)
    return output, report


@pytest.mark.parametrize("name", REQUESTS)
def test_what_the_server_promises_is_true(client, original, tmp_path, name):
    output, report = compressed(client, original, tmp_path, **REQUESTS[name])
    verification = verify(original, output, report, network=NETWORK, moments=MOMENTS)
    assert len(verification.unchecked) == UNCHECKABLE.get(name, 0)
    assert verification.refitted_tensors == (3 if name == "lasso" else 0)
    assert verification.weights_cut > 0


@pytest.mark.parametrize("name", REQUESTS)
def test_what_was_not_handed_in_is_named_and_the_rest_is_checked(client, original, tmp_path, name):
    output, report = compressed(client, original, tmp_path, **REQUESTS[name])
    for given in ({}, {"network": NETWORK}, {"moments": MOMENTS}):
        verification = verify(original, output, report, **given)
        assert any("certificate of the whole network" in phrase for phrase in verification.unchecked)
        assert any("choice of weights" in phrase for phrase in verification.unchecked) == ("moments" not in given)
        assert "NOT CHECKED: " in verification.told()
        assert verification.told().splitlines()[-1].startswith(f"verified in part: {len(verification.unchecked)} point")
        assert json.loads(verification_text(verification))["unchecked"] == [*verification.unchecked]
        assert "every other claim" in verification.told()
    plain = json.loads(report.read_text())
    plain["tensors"][0]["payload"]["sha256"] = "0" * 64
    report.write_text(json.dumps(plain))
    with pytest.raises(ClaimRefuted, match="sha256"):
        verify(original, output, report)


def test_another_network_or_calibration_is_refused_by_name(client, original, tmp_path):
    output, report = compressed(client, original, tmp_path, **REQUESTS["magnitudes"])
    with pytest.raises(InvalidNetwork, match=r"^this network is not the one of the report"):
        verify(original, output, report, network=NETWORK.with_inputs(l2_radius=6), moments=MOMENTS)
    with pytest.raises(InvalidNetwork, match=r"^these moments are not those of the report"):
        verify(original, output, report, network=NETWORK, moments=Calibration({}, 1))
    with pytest.raises(ReportError, match="no report is given"):
        verify(original, output, network=NETWORK)


def leaves(plain, path=""):
    items = plain.items() if isinstance(plain, dict) else enumerate(plain)
    for key, value in items:
        here = f"{path}.{key}"
        if key == "text":
            continue
        if isinstance(value, dict | list):
            yield from leaves(value, here)
        else:
            yield here, plain, key


def lies(value):
    if value is None:
        return [0.5]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, str):
        return [value + "x"]
    return [value * (1 + 1e-6), value * (1 - 1e-6)] if value else [0.5]


@pytest.mark.parametrize("name", ["budget", "by inputs"])
def test_every_number_about_the_network_is_a_claim(client, original, tmp_path, name):
    output, report = compressed(client, original, tmp_path, **REQUESTS[name])
    plain = json.loads(report.read_text())
    network = plain["summary"]["network"]
    assert network["reaches_output"]
    certificate = plain["tensors"][2]["certificate"]
    unrefuted = []
    for path, holder, key in [*leaves(network), *leaves(certificate)]:
        honest = holder[key]
        for lie in lies(honest):
            holder[key] = lie
            report.write_text(json.dumps(plain))
            try:
                verify(original, output, report, network=NETWORK, moments=MOMENTS)
                unrefuted.append(f"{path}: {honest!r} as {lie!r}")
            except EllqError:
                pass
        holder[key] = honest
    assert unrefuted == []


@pytest.mark.parametrize("claim", ["dead_neurons", "dead_weights"])
def test_what_went_with_dead_neurons_is_a_claim(client, original, tmp_path, claim):
    output, report = compressed(client, original, tmp_path, **REQUESTS["dead neurons"])
    plain = json.loads(report.read_text())
    allocations = [tensor["allocation"] for tensor in plain["tensors"] if tensor["allocation"]]
    assert max(one[claim] for one in allocations) > 0
    for allocation in allocations:
        allocation[claim] += 1
        report.write_text(json.dumps(plain))
        with pytest.raises(ClaimRefuted, match=rf"allocation\.{claim}"):
            verify(original, output, report, network=NETWORK, moments=MOMENTS)
        allocation[claim] -= 1


def test_lasso_that_lost_too_much_is_found(client, original, tmp_path):
    output, report = compressed(client, original, tmp_path, **REQUESTS["lasso"])
    plain = json.loads(report.read_text())
    plain["request"]["rule"]["epsilon"] = 0.1
    report.write_text(json.dumps(plain))
    with pytest.raises(ClaimRefuted, match=r"loss of neuron \d+ by LASSO is claimed to be at most 0.1"):
        verify(original, output, report, network=NETWORK, moments=MOMENTS)


@pytest.mark.parametrize("remove_dead_neurons", [False, True])
def test_how_many_weights_lasso_left_a_neuron_is_a_claim(client, original, tmp_path, remove_dead_neurons):
    output, report = compressed(client, original, tmp_path, **REQUESTS["lasso"], remove_dead_neurons=remove_dead_neurons)
    verify(original, output, report, network=NETWORK, moments=MOMENTS)
    plain = json.loads(report.read_text())
    kept = plain["tensors"][-1]["neurons"]["kept"]
    for lie in ([kept[0] + 1, kept[1] - 1, *kept[2:]], [kept[0] + 1, *kept[1:]], kept[1:]):
        plain["tensors"][-1]["neurons"]["kept"] = lie
        report.write_text(json.dumps(plain))
        with pytest.raises(ClaimRefuted, match=r"neurons\.kept"):
            verify(original, output, report, network=NETWORK, moments=MOMENTS)


@pytest.mark.parametrize("name", ["lasso", "budget"])
def test_a_scope_that_a_rule_does_not_have_is_refused(client, original, tmp_path, name):
    output, report = compressed(client, original, tmp_path, **REQUESTS[name])
    plain = json.loads(report.read_text())
    plain["request"]["rule"]["scope"] = "layer"
    report.write_text(json.dumps(plain))
    with pytest.raises(ReportError, match="no server takes a rule of scope 'layer'"):
        verify(original, output, report, network=NETWORK, moments=MOMENTS)


@pytest.mark.parametrize("unit", [2.0**-600, 1.0, 2.0**600])
def test_mean_squares_are_claims_whatever_the_unit_of_the_weights(client, tmp_path, unit):
    moments = Calibration({"a": moments_of(6)}, 200)
    original, output, report = tmp_path / "a.safetensors", tmp_path / "small.safetensors", tmp_path / "report.json"
    save_file({"a": RANDOM.normal(size=(3, 6)) * unit}, original)
    write_report(client.compress(original, output, rule=Lasso(epsilon=0.5), moments=moments).result(), report)
    verify(original, output, report, moments=moments)
    plain = json.loads(report.read_text())
    for name in ("mean_square_max", "mean_square_l2"):
        honest = plain["tensors"][0]["certificate"][name]
        plain["tensors"][0]["certificate"][name] = honest / 2
        report.write_text(json.dumps(plain))
        with pytest.raises(ClaimRefuted, match=name):
            verify(original, output, report, moments=moments)
        plain["tensors"][0]["certificate"][name] = honest
    plain["request"]["rule"]["epsilon"] = 0.01
    report.write_text(json.dumps(plain))
    with pytest.raises(ClaimRefuted, match="by LASSO"):
        verify(original, output, report, moments=moments)


def test_mean_squares_beyond_a_double_are_infinite_and_nothing_else(client, tmp_path):
    moments = Calibration({"a": TensorMoments(np.full(6, 1e4), np.full((1, 6, 6), 1e4))}, 1)
    original, output, report = tmp_path / "a.safetensors", tmp_path / "small.safetensors", tmp_path / "report.json"
    save_file({"a": np.full((3, 6), 1e306)}, original)
    write_report(client.compress(original, output, rule=Fraction(pruned_ratio=0.5), moments=moments).result(), report)
    verify(original, output, report, moments=moments)
    plain = json.loads(report.read_text())
    for name in ("mean_square_max", "mean_square_l2"):
        assert plain["tensors"][0]["certificate"][name] == "Infinity"
        report.write_text(json.dumps(plain | {"tensors": [certified(plain["tensors"][0], name, 1.0)]}))
        with pytest.raises(ClaimRefuted, match=name):
            verify(original, output, report, moments=moments)


def certified(tensor, name, claim):
    """Return a tensor's report with one claim of its certificate replaced."""
    return tensor | {"certificate": tensor["certificate"] | {name: claim}}


def test_new_values_may_lie_further_from_the_old_ones_than_these_from_zero(client, tmp_path):
    """Of two correlated inputs LASSO keeps the larger one, whose weight, small before, takes the other's part."""
    given, matrix = np.array([[0.05, 1.0]]), np.array([[[100.0, 9.0], [9.0, 1.0]]])
    moments = Calibration({"a": TensorMoments(np.diagonal(matrix[0]).copy(), matrix)}, 1)
    original, output, report = tmp_path / "a.safetensors", tmp_path / "small.safetensors", tmp_path / "report.json"
    save_file({"a": given}, original)
    result = client.compress(original, output, rule=Lasso(epsilon=0.5), moments=moments).result()
    write_report(result, report)
    moved = sum((Exact(old) - Exact(new)) ** 2 for old, new in zip(given[0], load_file(output)["a"][0], strict=True))
    square = moved / sum(Exact(old) ** 2 for old in given[0])
    assert square > 1
    assert Exact(result["a"].certificate.frobenius_ratio) ** 2 >= square
    assert Exact(result.summary.frobenius_ratio) ** 2 >= square
    verify(original, output, report, moments=moments)
    plain = json.loads(report.read_text())
    plain["tensors"][0]["certificate"]["frobenius_ratio"] = plain["summary"]["frobenius_ratio"] = 1.0
    report.write_text(json.dumps(plain))
    with pytest.raises(ClaimRefuted, match="frobenius_ratio"):
        verify(original, output, report, moments=moments)


def test_a_neuron_is_not_dead_because_somebody_says_so(client, original, tmp_path):
    output, report = compressed(client, original, tmp_path, **REQUESTS["dead neurons"])
    plain = json.loads(report.read_text())
    assert sum((tensor["allocation"] or {}).get("dead_neurons") or 0 for tensor in plain["tensors"]) > 0
    weights = load_file(output)
    alive = int(np.flatnonzero(weights["hidden.weight"].any(axis=1))[0])
    weights["hidden.weight"][alive] = 0
    save_file(weights, output)
    with pytest.raises(ClaimRefuted):
        verify(original, output, report, network=NETWORK, moments=MOMENTS)
