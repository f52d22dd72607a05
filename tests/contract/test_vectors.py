"""The service answers the golden requests with the golden answers. When that is meant to change: `make vectors`."""

import base64
import json
import math

import pytest
from google.protobuf import json_format

from ellq.v1 import compression_pb2 as pb
from tests.contract.vectors import FOLDER, answer, requests
from tests.server.wire import Caller

FLOAT_TOLERANCE = 1e-12
"""Logs and exponentials of different platforms: a few units of roundoff of arguments below 1000."""


def assert_same(found: object, golden: object, where: str) -> None:
    if isinstance(golden, dict):
        assert isinstance(found, dict)
        assert found.keys() == golden.keys(), where
        for key, value in golden.items():
            assert_same(found[key], value, f"{where}.{key}")
    elif isinstance(golden, list):
        assert isinstance(found, list)
        assert len(found) == len(golden), where
        for index, value in enumerate(golden):
            assert_same(found[index], value, f"{where}[{index}]")
    elif isinstance(golden, float):
        assert isinstance(found, float)
        assert math.isclose(found, golden, rel_tol=FLOAT_TOLERANCE, abs_tol=FLOAT_TOLERANCE), where
    else:
        assert found == golden, where


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_the_service_answers_as_recorded(caller: Caller, path: object) -> None:
    golden = json.loads(path.read_text())
    options = (pb.AnalyzeOptions if golden["method"] == "Analyze" else pb.CompressOptions)()
    json_format.ParseDict(golden["options"], options)
    found = answer(caller, options, base64.b64decode(golden["stream"]))
    assert_same(found, {key: golden[key] for key in golden.keys() - {"method", "options", "stream"}}, path.stem)


def test_every_vector_is_there_and_none_besides() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(requests())
