"""Real models after compression: their own libraries load them, and they still know what they knew."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.quality.subjects import RULES, SUBJECTS, Subject, compressed

from ellq_client import Client

QUICK = [subject for subject in SUBJECTS if not subject.slow]


@pytest.fixture(scope="module", params=QUICK, ids=lambda subject: subject.name)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, Path, float]:
    """A model, where it is, and how good it is."""
    source = request.param.make(tmp_path_factory.mktemp("model"))
    return request.param, source, request.param.quality(source)


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[Client]:
    with Client(server) as client:
        yield client


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_more_is_left_of_a_model_than_is_lost(client, model, tmp_path, rule) -> None:
    subject, source, before = model
    after = compressed(client, subject, source, rule, tmp_path).quality
    assert after - subject.chance > (before - subject.chance) / 2
