"""Reports say everything, in strict JSON, and are read with the same strictness."""

import dataclasses
import json
import os
from importlib.resources import files
from math import inf

import jsonschema
import pytest

from ellq_client import (
    Client,
    Override,
    PqIndex,
    ReportError,
    Tail,
    certificates,
    report,
    requests,
    results,
    rules,
    values,
    write_report,
)
from ellq_client.plain import from_plain, to_plain
from ellq_client.report import Report, read_report, report_of, report_text
from ellq_client.requests import Request
from ellq_client.rules import RULES

SCHEMA = json.loads(files("ellq_client").joinpath("report.schema.json").read_text())


@pytest.fixture
def result(fake, checkpoint, tmp_path):
    overrides = [Override("layer.weight", rule=Tail(epsilon=0.1, p=2)), Override("x", skip=True, neuron_axis=(0, 1))]
    with Client(fake.address) as client:
        return client.compress(
            checkpoint,
            tmp_path / "small.safetensors",
            rule=PqIndex(p=0.5, q=1),
            pq=(0.5, 1.5),
            include=["*"],
            overrides=overrides,
            neurons=True,
        ).result()


def test_the_schema_is_a_schema_of_its_year():
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_report_fits_the_schema_and_reads_back_the_same(result, tmp_path):
    write_report(result, tmp_path / "report.json")
    plain = json.loads((tmp_path / "report.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    jsonschema.validate(plain, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert read_report(tmp_path / "report.json") == report_of(result)
    assert plain["tensors"][2]["bound"]["tail_l1_max"] == "Infinity"
    assert plain["request"]["overrides"][0]["rule"]["kind"] == "tail"
    assert not list(tmp_path.glob(".*.partial"))


def test_an_analysis_is_reported_too(fake, checkpoint):
    with Client(fake.address) as client:
        result = client.analyze(checkpoint).result()
    plain = json.loads(report_text(result))
    jsonschema.validate(plain, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert plain["method"] == "analyze"
    assert plain["output"] is None


@pytest.mark.parametrize("definition", sorted(SCHEMA["$defs"].keys() - {"Rule", "number"}))
def test_the_schema_knows_exactly_the_fields_that_are_written(definition):
    kind = next(
        getattr(place, definition)
        for place in (values, certificates, report, rules, results, requests)
        if hasattr(place, definition)
    )
    written = {field.name.rstrip("_") for field in dataclasses.fields(kind)} | ({"kind"} if kind in RULES.values() else set())
    described = SCHEMA["$defs"][definition]
    assert described["properties"].keys() == written == set(described["required"])
    assert described["additionalProperties"] is False


def test_numbers_read_back_bit_by_bit():
    for number in (0.1, 1e-310, 1.7976931348623157e308, inf):
        assert from_plain(float, json.loads(json.dumps(to_plain(number))), path="x") == number


def test_a_rule_needs_its_kind():
    with pytest.raises(ReportError, match=r"r\.rule\.kind: None is not one of sparsity_index"):
        from_plain(Request, {"rule": {"pruned_ratio": 0.5}}, path="r")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plain: plain.update(schema="ellq.report/1"), "'ellq.report/1'"),
        (lambda plain: plain.pop("schema"), "but None"),
        (lambda plain: plain.pop("tensors"), "report: field 'tensors' is missing"),
        (lambda plain: plain.update(more=1), "report: unknown field 'more'"),
        (lambda plain: plain["summary"].update(tensors="3"), "report.summary.tensors: '3' is not"),
        (lambda plain: plain["summary"].update(tensors=True), "report.summary.tensors: True is not"),
        (lambda plain: plain["summary"].update(tensors=3.5), "report.summary.tensors: 3.5 is not"),
        (lambda plain: plain["request"].update(neurons=1), "report.request.neurons: 1 is not"),
        (lambda plain: plain["request"].update(nonfinite="drop"), "report.request.nonfinite: 'drop' is not"),
        (lambda plain: plain["request"].update(pq=[1]), "report.request.pq: 2 entries"),
        (lambda plain: plain["request"]["rule"].update(kind="magic"), "report.request.rule.kind: 'magic'"),
        (lambda plain: plain["request"]["rule"].update(kind=["tail"]), r"report.request.rule.kind: \['tail'\]"),
        (lambda plain: plain["summary"].update(frobenius=10**400), "report.summary.frobenius: 1000"),
        (lambda plain: plain.update(tensors={}), "report.tensors: {} is not a list"),
        (lambda plain: plain.update(tensors=[3]), r"report.tensors\[0\]: 3 is not an object"),
    ],
)
def test_what_is_no_report_is_refused_with_its_path(result, tmp_path, change, message):
    plain = to_plain(report_of(result))
    change(plain)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(plain))
    with pytest.raises(ReportError, match=message):
        read_report(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"report"', "[" * 100_000, "\xff"])
def test_what_is_no_json_object_is_refused(tmp_path, text):
    path = tmp_path / "report.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ReportError):
        read_report(path)


def test_the_report_type_is_the_whole_file(result):
    assert from_plain(Report, to_plain(report_of(result)), path="report") == report_of(result)


def test_a_name_that_is_not_utf_8_reads_back_the_same(fake, checkpoint, tmp_path):
    odd = tmp_path / os.fsdecode(b"odd \xff.safetensors")
    checkpoint.rename(odd)
    with Client(fake.address) as client:
        result = client.compress(odd, tmp_path / os.fsdecode(b"small \xfe.safetensors"), rule=Tail(epsilon=0.1, p=2)).result()
    write_report(result, tmp_path / "report.json")
    assert read_report(tmp_path / "report.json") == report_of(result)
    assert b"odd \\udcff.safetensors" in (tmp_path / "report.json").read_bytes()
