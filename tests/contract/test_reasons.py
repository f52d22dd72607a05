"""Refusals and contract agree: every reason exists, every error has a code, every range in words is the range in code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import grpc
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq.v1.safetensors import TABLE_NAMES
from ellq_math.grades import Grade
from ellq_math.rules import ErrorBudget
from ellq_server import refusals, scoped_rules

SERVER = Path(refusals.__file__).parent
REASONS = {name.removeprefix("ERROR_REASON_") for name in pb.ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118


def subclasses(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def test_every_refusal_has_a_code_and_a_reason_of_the_contract() -> None:
    for kind in subclasses(refusals.EllqError):
        error = kind("said", reason=None if kind.reason else "INVALID_Q")
        assert refusals.code_of(error) is not grpc.StatusCode.OK
        assert error.reason in REASONS


def test_the_tree_drawn_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", refusals.__doc__ or ""))
    assert drawn == {kind.__name__ for kind in subclasses(refusals.EllqError)}


def test_every_reason_of_the_contract_is_raised_somewhere_and_none_besides() -> None:
    raised = set(scoped_rules.PARAMETER_REASON.values()) | {kind.reason for kind in subclasses(refusals.EllqError)} - {""}
    for path in SERVER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "reason" and isinstance(node.value, ast.Constant):
                raised.add(node.value.value)
    assert raised == REASONS


@pytest.mark.parametrize(
    ("target", "grade", "reason", "field"),
    [
        ({"max_error": None, "pruned_ratio": None}, Grade.BOX, "INVALID_BUDGET", "target"),
        ({"max_error": 0.0, "pruned_ratio": None}, Grade.BOX, "INVALID_BUDGET", "max_error"),
        ({"max_error": 1.0, "pruned_ratio": None}, Grade.BALL, "INVALID_ENUM", "grade"),
    ],
)
def test_what_the_math_refuses_of_a_budget_has_a_reason(
    target: dict[str, float | None], grade: Grade, reason: str, field: str
) -> None:
    with pytest.raises(refusals.InvalidRequest) as caught, scoped_rules.parameters_of("options.rule.error_budget"):
        ErrorBudget(**target, grade=grade, measured=False)
    assert (caught.value.reason, caught.value.field) == (reason, f"options.rule.error_budget.{field}")


def test_the_default_name_patterns_are_those_of_the_contract() -> None:
    comment = (SERVER.parents[1] / "proto/ellq/v1/compression.proto").read_text()
    listed = re.search(r"its name matches none of (.*?)\. Everything", comment)
    assert listed
    assert tuple(listed.group(1).split(", ")) == TABLE_NAMES


@pytest.mark.parametrize("letter", ["x", "\u00fc", "\U0001f9ee"])
def test_a_refusal_fits_8_kb_of_metadata_whatever_it_quotes(letter: str) -> None:
    error = refusals.MalformedWeights(letter * 100_000, field="data", retry_after_seconds=1.5)
    metadata = dict(refusals.metadata_of(error))
    percent_encoded = quote(refusals.message_of(error))
    base64 = 4 / 3 * len(metadata["grpc-status-details-bin"])
    assert len(percent_encoded) + base64 < 8192 - 200  # the rest of the trailers needs less
    assert metadata["retry-after"] == "1.500"
