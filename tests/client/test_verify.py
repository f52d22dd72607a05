"""Verification holds what is true and refutes what is not, from the two files alone."""

import copy
import json
import math
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ellq_client import (
    ClaimRefuted,
    EllqError,
    Fraction,
    LqBound,
    NOfM,
    Override,
    PqIndex,
    ReportError,
    SourceError,
    SparsityIndex,
    Tail,
    checkpoint,
    verify,
    write_report,
)
from ellq_client.verifying import matrices


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """Return a checkpoint of every dtype, with ties, zeros of both signs, extremes, odd layouts, and what passes through."""
    random = torch.Generator().manual_seed(3)
    heavy = torch.randn(9, 33, generator=random).double() ** 5
    ties = torch.randint(-2, 3, (6, 20), generator=random).float()
    ties[0] = 0.0
    ties[1, 3] = -0.0
    weights = {
        "double.weight": heavy * 1e-160,
        "single.weight": torch.randn(12, 40, generator=random),
        "half.weight": torch.randn(7, 5, 3, generator=random).half(),
        "brain.weight": torch.randn(8, 16, generator=random).bfloat16(),
        "ties.weight": ties,
        "conv1d.weight": torch.randn(10, 6, generator=random),
        "experts.weight": torch.randn(3, 4, 5, generator=random),
        "embed.weight": torch.randn(5, 4, generator=random),
        "zero.weight": torch.zeros(3, 4),
        "bias": torch.ones(4),
        "steps": torch.arange(3),
        "none.weight": torch.zeros(0, 4),
    }
    path = tmp_path_factory.mktemp("original") / "model.safetensors"
    save_file(weights, path)
    return path


OVERRIDES = [
    Override("conv1d*", neuron_axis=(1,)),
    Override("experts*", neuron_axis=(0, 2)),
    Override("half*", rule=NOfM(n=1, m=4)),
]
REQUESTS = {
    "sparsity_index": {"rule": SparsityIndex(q=0.5)},
    "sparsity_index, other orders": {"rule": SparsityIndex(q=0.25, eta=0.1), "q": 0.1, "pq": (1.0, 2.0)},
    "sparsity_index by layer": {"rule": SparsityIndex(q=0.5, scope="layer"), "ignore_zeros": True},
    "pq_index": {"rule": PqIndex(p=0.5, q=1)},
    "pq_index over all": {"rule": PqIndex(p=1, q=2, scope="global"), "include": ["*"]},
    "tail by neuron": {"rule": Tail(epsilon=0.2, p=2)},
    "tail by layer": {"rule": Tail(epsilon=0.2, p=1, scope="layer"), "exclude": ["single*"]},
    "tail over all": {"rule": Tail(epsilon=0.3, p=2, scope="global")},
    "lq_bound": {"rule": LqBound(epsilon=0.4, q=0.5, p=1), "overrides": [Override("ties*", skip=True)]},
    "fraction": {"rule": Fraction(pruned_ratio=0.3), "ignore_zeros": True},
    "fraction by layer": {"rule": Fraction(pruned_ratio=0.7, scope="layer")},
    "fraction over all": {"rule": Fraction(pruned_ratio=0.7, scope="global"), "overrides": OVERRIDES},
    "n_of_m": {"rule": NOfM(n=2, m=4)},
    "layouts": {"rule": SparsityIndex(q=0.5), "overrides": OVERRIDES, "include": ["no match"]},
}


@pytest.fixture(scope="module")
def compressed(client, original, tmp_path_factory):
    """Return the files of one compression with everything reported."""
    place = tmp_path_factory.mktemp("compressed")
    result = client.compress(original, place / "small.safetensors", neurons=True, **REQUESTS["layouts"]).result()
    write_report(result, place / "report.json")
    return place / "small.safetensors", place / "report.json"


@pytest.mark.parametrize("request_name", REQUESTS)
def test_what_the_server_says_is_true(verified, original, request_name):
    verified(original, neurons=True, **REQUESTS[request_name])


def test_without_a_report_only_the_weights_are_checked(original, compressed):
    verification = verify(original, compressed[0])
    assert not verification.report_checked
    assert "nothing is said about" in verification.told()
    assert verify(original, original).changed_tensors == 0


def test_a_model_of_nothing_compressible(client, tmp_path):
    path, output, report = (tmp_path / name for name in ("a.safetensors", "b.safetensors", "r.json"))
    save_file({"bias": torch.ones(3)}, path)
    write_report(client.compress(path, output, rule=SparsityIndex(q=0.5)).result(), report)
    assert verify(path, output, report).changed_tensors == 0


def test_nonfinite_tensors_must_have_passed_through(client, tmp_path):
    path, output, report = (tmp_path / name for name in ("a.safetensors", "b.safetensors", "r.json"))
    save_file({"a.weight": torch.tensor([[1.0, math.nan]]), "b.weight": torch.randn(4, 4)}, path)
    result = client.compress(path, output, rule=SparsityIndex(q=0.5), nonfinite="pass_through").result()
    write_report(result, report)
    verify(path, output, report)
    plain = json.loads(report.read_text())
    plain["request"]["nonfinite"] = "refuse"
    report.write_text(json.dumps(plain))
    with pytest.raises(ClaimRefuted, match="refusal of the whole file"):
        verify(path, output, report)


UNVERIFIABLE = {"tool", "server", "timings", "text"}
"""Parts of a report that two files cannot tell: who made it, when, how fast, and in which words."""
UNVERIFIABLE_PATHS = {"source.name", "output.name", "request.distribution"}


def leaves(plain, path=""):
    """Yield the path, holder and key of every number, string, boolean and None."""
    items = plain.items() if isinstance(plain, dict) else enumerate(plain)
    for key, value in items:
        here = f"{path}[{key}]" if isinstance(plain, list) else f"{path}.{key}".lstrip(".")
        if key in UNVERIFIABLE or here in UNVERIFIABLE_PATHS:
            continue
        if isinstance(value, dict | list):
            yield from leaves(value, here)
        else:
            yield here, plain, key


def others(value):
    """Return values near and far that are not this one."""
    if value is None:
        return [0, 0.5, "x", True]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, str):
        return [value + "x", ""] if value else ["x"]
    if isinstance(value, int):
        return [value + 1, value - 1]
    return [value * (1 + 1e-6), value * (1 - 1e-6), -value - 1.0] if value else [0.5, -1.0]


def test_every_leaf_of_a_report_is_a_claim(original, compressed, monkeypatch, tmp_path):
    """Change every single value of a report and see it refuted. The neurons of one tensor stand for those of all."""
    output, report = compressed
    plain = json.loads(report.read_text())
    assert plain["request"]["include"] == ["no match"]
    paths = [path for path, _, _ in leaves(plain) if ".neurons." not in path or path.startswith("tensors[4]")]
    assert len(paths) > 300
    unrefuted = []
    target = tmp_path / "report.json"
    for path in paths:
        _, holder, key = next(leaf for leaf in leaves(plain) if leaf[0] == path)
        honest = holder[key]
        for lie in others(honest):
            holder[key] = lie
            target.write_text(json.dumps(plain))
            try:
                verify(original, output, target)
                unrefuted.append(f"{path}: {honest!r} as {lie!r}")
            except EllqError:
                pass
        holder[key] = honest
    assert unrefuted == [
        "request.q: None as 0.5",  # which is what None means
        "request.magnitudes_only: False as True",  # without moments nothing comes of it
        "request.moments_sha256: None as 'x'",  # moments of tensors that pass through leave no trace
    ]


def edited(path: Path, place: int, value: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[place : place + len(value)] = value
    path.write_bytes(data)


def place_of(path: Path, name: str, index: int, itemsize: int) -> int:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return 8 + length + json.loads(data[8 : 8 + length])[name]["data_offsets"][0] + index * itemsize


@pytest.fixture
def copied(compressed, tmp_path):
    output = tmp_path / "small.safetensors"
    output.write_bytes(compressed[0].read_bytes())
    return output, compressed[1]


def kept_and_cut(original, output, name="single.weight"):
    before = np.frombuffer(original.read_bytes(), np.uint8)
    after = np.frombuffer(output.read_bytes(), np.uint8)
    start, end = place_of(original, name, 0, 4), place_of(original, name, 480, 4)
    old, new = before[start:end].view(np.float32), after[start:end].view(np.float32)
    return old, int(np.flatnonzero(new)[-1]), int(np.flatnonzero((new == 0) & (old != 0))[-1])


def test_one_changed_weight_is_found_without_any_report(original, copied):
    output, _ = copied
    old, kept, _ = kept_and_cut(original, output)
    edited(output, place_of(output, "single.weight", kept, 4), np.nextafter(old[kept], np.float32(9)).tobytes())
    with pytest.raises(ClaimRefuted, match=rf"tensor 'single.weight': weight \[{kept // 40}, {kept % 40}\]"):
        verify(original, output)


@pytest.mark.parametrize("cut_before", [False, True])
def test_a_weight_is_named_whatever_the_pieces_that_are_read(original, copied, monkeypatch, cut_before):
    monkeypatch.setattr(checkpoint, "_PIECE_BYTES", 64)
    output, _ = copied
    if not cut_before:
        output.write_bytes(original.read_bytes())
    edited(output, place_of(output, "single.weight", 479, 4), np.float32(9).tobytes())
    with pytest.raises(ClaimRefuted, match=r"tensor 'single\.weight': weight \[11, 39\]"):
        verify(original, output)


@pytest.mark.parametrize("block", [80, 1 << 21], ids=["two rows at a time", "whole"])
def test_one_weight_cut_too_many_or_too_few_is_found_by_the_report(original, copied, monkeypatch, block):
    monkeypatch.setattr(matrices, "BLOCK_WEIGHTS", block)
    output, report = copied
    plain = json.loads(report.read_text())
    old, kept, cut = kept_and_cut(original, output)
    honest = output.read_bytes()
    for index, value, found in (
        (kept, np.float32(0), "kept by the rule, bit by bit, found other bits than in the original"),
        (cut, old[cut], r"cut by the rule, found another value than \+0\.0"),
    ):
        output.write_bytes(honest)
        edited(output, place_of(output, "single.weight", index, 4), np.float32(value).tobytes())
        verify(original, output)  # by itself the file is a possible compression
        forged = copy.deepcopy(plain)
        with pytest.raises(ClaimRefuted, match=r"payload\.sha256"):
            verify(original, output, report)
        _forge_digest(forged, output, "single.weight", 480)
        (output.parent / "forged.json").write_text(json.dumps(forged))
        with pytest.raises(ClaimRefuted, match=rf"weight \[{index // 40}, {index % 40}\] is claimed to be {found}"):
            verify(original, output, output.parent / "forged.json")


def _forge_digest(plain, output, name, weights):
    tensor = next(tensor for tensor in plain["tensors"] if tensor["name"] == name)
    start, end = place_of(output, name, 0, 4), place_of(output, name, weights, 4)
    tensor["payload"]["sha256"] = sha256(output.read_bytes()[start:end]).hexdigest()


def test_a_zero_in_a_tensor_that_passed_through_is_found_by_the_report(original, copied):
    output, report = copied
    edited(output, place_of(output, "embed.weight", 7, 4), bytes(4))
    verify(original, output)  # by itself the file is a possible compression
    forged = json.loads(report.read_text())
    _forge_digest(forged, output, "embed.weight", 20)
    (output.parent / "forged.json").write_text(json.dumps(forged))
    with pytest.raises(ClaimRefuted, match=r"tensor 'embed\.weight': treatment is claimed to be passes through untouched"):
        verify(original, output, output.parent / "forged.json")


OF_A_TENSOR = ["payload", "measurement", "allocation", "bound", "certificate", "neurons"]
OF_ALL = ["global", "frobenius", "frobenius_ratio", "zeros_after", "kept", "network"]


@pytest.mark.parametrize("claim", [*OF_A_TENSOR, *OF_ALL])
def test_a_claim_that_is_left_out_is_missed(original, compressed, tmp_path, claim):
    plain = json.loads(compressed[1].read_text())
    holder = plain["summary"] if claim in OF_ALL else next(one for one in plain["tensors"] if one["name"] == "single.weight")
    assert holder[claim] is not None
    holder[claim] = None
    (tmp_path / "report.json").write_text(json.dumps(plain))
    with pytest.raises(ClaimRefuted, match=rf"{claim} is claimed to be (absent|False|None)"):
        verify(original, compressed[0], tmp_path / "report.json")


def test_files_are_swapped_only_where_every_wrong_weight_was_zero(original, copied):
    output, _ = copied
    zero = place_of(output, "ties.weight", 0, 4)  # its first row is zero
    edited(output, zero, np.float32(9).tobytes())
    with pytest.raises(ClaimRefuted, match=r"^the two files may be swapped"):
        verify(original, output)
    whole = np.frombuffer(original.read_bytes()[zero : zero + 480], np.float32)
    edited(output, zero + 4 * int(np.flatnonzero(whole)[0]), np.float32(9).tobytes())
    with pytest.raises(ClaimRefuted, match=r"^tensor 'ties\.weight': weight \[0, 0\]"):
        verify(original, output)


@pytest.mark.parametrize("name", ["bias", "steps"])
def test_untouched_tensors_are_untouched(original, copied, name):
    output, _ = copied
    edited(output, place_of(output, name, 0, 1), bytes(4) if name == "bias" else b"\x07")
    with pytest.raises(ClaimRefuted, match=f"tensor '{name}'"):
        verify(original, output)


def test_swapped_files_and_reports_of_others_are_told_first(original, copied):
    output, report = copied
    with pytest.raises(ClaimRefuted, match=r"^the two files may be swapped: tensor '.*': weight \[.*\]"):
        verify(output, original)
    with pytest.raises(ClaimRefuted, match=r"^this report is not of these files: tensor '.*': payload\.sha256"):
        verify(original, original, report)


def test_a_cut_weight_is_plus_zero(original, copied):
    output, _ = copied
    _, _, cut = kept_and_cut(original, output)
    edited(output, place_of(output, "single.weight", cut, 4), np.float32(-0.0).tobytes())
    with pytest.raises(ClaimRefuted, match=r"weight \[\d+, \d+\]"):
        verify(original, output)


def test_another_header_is_another_model(original, copied):
    output, _ = copied
    output.write_bytes(output.read_bytes().replace(b"steps", b"stops"))
    with pytest.raises(ClaimRefuted, match="header"):
        verify(original, output)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:5], "ends after 5 bytes"),
        (lambda data: data[:-1], r"is cut off: \d+ of \d+ bytes"),
        (lambda data: data + b"\0", "1 byte after its last tensor"),
        (lambda data: b"\xff" * 8 + data[8:], "header would be"),
        (lambda data: data.replace(b'"F32"', b'"F64"', 1), "wrong place or length"),
        (lambda data: data.replace(b'"dtype"', b'"dtipe"', 1), "does not hold together"),
        (lambda data: data.replace(b"{", b"[", 1), "does not hold together"),
    ],
)
def test_files_that_are_no_checkpoints_are_refused(original, tmp_path, damage, message):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(damage(original.read_bytes()))
    with pytest.raises(SourceError, match=message):
        verify(broken, broken)


def test_only_compressions_can_be_verified(client, original, tmp_path):
    write_report(client.analyze(original, rule=SparsityIndex(q=0.5)).result(), tmp_path / "report.json")
    with pytest.raises(ReportError, match="'analyze'"):
        verify(original, original, tmp_path / "report.json")


def test_a_compression_without_a_rule_is_none(original, compressed, tmp_path):
    plain = json.loads(compressed[1].read_text())
    plain["request"]["rule"] = None
    (tmp_path / "report.json").write_text(json.dumps(plain))
    with pytest.raises(ReportError, match="the report is of 'compress'; only one of a compression can be verified"):
        verify(original, compressed[0], tmp_path / "report.json")


def test_a_report_of_weights_in_memory_holds_of_them_as_a_file(client, original, tmp_path):
    result = client.compress(original, rule=Fraction(pruned_ratio=0.3)).result()
    write_report(result, tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["output"] is None
    client.compress(original, tmp_path / "small.safetensors", rule=Fraction(pruned_ratio=0.3)).result()
    assert verify(original, tmp_path / "small.safetensors", tmp_path / "report.json").report_checked


def test_verification_needs_neither_server_nor_torch_nor_grpc_calls(original, compressed):
    code = (
        "import sys\n"
        "from ellq_client import verify\n"
        f"verify({str(original)!r}, {str(compressed[0])!r}, {str(compressed[1])!r})\n"
        "assert not {'torch', 'numba', 'ellq_server', 'ellq_kernels', 'ellq_client.client'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
