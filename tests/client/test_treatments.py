"""The command line has words for every reason to leave a tensor alone, and says them tensor by tensor."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_client import Client
from ellq_client.cli.treatments import explained, untouched
from ellq_client.results import Analysis
from ellq_client.values import TensorReport

REASON = pb.DESCRIPTOR.enum_types_by_name["PassThroughReason"]


@pytest.fixture(scope="module")
def analysis(client: Client) -> Analysis:
    return client.analyze({"a": np.ones((2, 2), np.float32)}).result()


REASONS = [value.name.removeprefix("PASS_THROUGH_REASON_").lower() for value in REASON.values if value.number]


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_of_the_contract_has_words(analysis: Analysis, reason: str) -> None:
    alone = TensorReport(0, "w", "F32", (2, 2), (), None, "pass_through", reason)
    told = " ".join(untouched(replace(analysis, tensors=(alone,))))
    assert "1 of 1 tensor (1: " in told
    assert f"(1: {reason})" not in told or reason == "excluded"  # which is its own word


def test_newer_dtypes_and_quantised_layers_are_told_by_name(client: Client) -> None:
    weights = {
        "a.weight_scale": np.ones((2, 1), np.float32),
        "a.weight": np.ones((2, 2), ml_dtypes.float8_e4m3fn),
        "b.weight": np.ones((2, 2), np.int8),
        "b.SCB": np.ones(2, np.float32),
        "c.weight": np.ones((2, 2), ml_dtypes.float8_e5m2),
        "d": np.ones((2, 2), np.complex64),
        "e": np.ones((2, 2), ml_dtypes.float8_e8m0fnu),
    }
    told = "\n".join(explained(client.analyze(weights).result(), most_names=9))
    assert "2: parts of quantised layers, which stay as they are: b.SCB, b.weight" in told
    assert "1: scales of 8-bit weights: a.weight_scale" in told
    assert "1: 8-bit weights whose scale comes after them, is in another stream, or is of no known kind: c.weight" in told
    assert "2: no floating point weights that the server compresses: d, e" in told


def test_a_person_is_told_a_few_names_and_where_the_others_are(client: Client) -> None:
    names = [f"norm{place}" for place in range(5)]
    told = explained(client.analyze({name: np.ones(2, np.float32) for name in names}).result(), most_names=2)
    assert told[-1].endswith("5: fewer than two dimensions: norm0, norm1, ... and 3 more; --json has them all")
