"""docs/operations.md against the settings and metrics it describes."""

import re
from pathlib import Path

from ellq_server.admission import Admission
from ellq_server.metrics import Metrics
from ellq_server.settings import CLIENT_NAMES, PREFIX, Settings

PAGE = (Path(__file__).parents[2] / "docs/operations.md").read_text()
ROW = re.compile(r"^\| `(ELLQ_\w+)` \| (?:`([^`]*)`|empty) \| \S.* \|$", re.MULTILINE)


def written(default: object) -> str:
    """Return a default as an operator would write it: 30 rather than 30.0, false rather than False."""
    return f"{default:g}" if isinstance(default, float) else str(default).lower()


def test_the_table_has_every_setting_with_its_default():
    expected = {f"{PREFIX}{name.upper()}": written(field.default) for name, field in Settings.model_fields.items()}
    assert dict(ROW.findall(PAGE)) == expected


def test_every_name_on_the_page_is_one_that_exists():
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | CLIENT_NAMES
    assert set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", PAGE)) <= known | {"ELLQ_SERVICE_HOST"}


def metric_names() -> set[str]:
    """Return the names of everything that a server counts, as Prometheus sees them."""
    families = Metrics(Admission(concurrent_calls=1, memory_bytes=1), memory_bytes=1).registry.collect()
    return {family.name + ("_total" if family.type == "counter" else "") for family in families}


def test_the_page_has_every_metric_of_the_server():
    assert set(re.findall(r"`((?:grpc_server|ellq)_[a-z_]+)`", PAGE)) == metric_names()


def test_the_rules_ask_for_metrics_that_there_are():
    asked = set(re.findall(r"(?:rate|increase)\((\w+)[{\[]", PAGE))
    assert len(asked) == 2
    assert asked <= metric_names()
