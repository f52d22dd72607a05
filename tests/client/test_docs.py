"""What the pages say can be run, runs."""

import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.main import get_command

import ellq_client
from ellq_client import Verification
from ellq_client.cli import main
from ellq_client.cli.app import app
from ellq_client.cli.choices import RULE_OPTIONS
from ellq_client.cli.exits import EXPLAINED

DOCS = Path(__file__).parents[2] / "docs"
JOBS = (DOCS / "jobs.md").read_text()
PAGES = (DOCS / "sdk.md").read_text() + (DOCS / "empirical.md").read_text() + JOBS
PYTHON = re.findall(r"```python\n(.*?)```", PAGES, re.DOTALL)
COMMANDS = re.findall(r"^\$ ellq (.*)$", (DOCS / "cli.md").read_text(), re.MULTILINE)


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    """Stand where there is a model.safetensors."""
    random = np.random.default_rng(5)
    weights = {
        "encoder.weight": random.normal(size=(16, 12)).astype(np.float32),
        "embed.weight": random.normal(size=(6, 4)),
        "head.weight": random.normal(size=(4, 4)),
        "head.bias": np.zeros(4),
    }
    save_file(weights, tmp_path / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ELLQ_SERVER", raising=False)


def test_the_pages_have_examples():
    assert len(PYTHON) == 9
    assert len(COMMANDS) == 7


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_examples(code):
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_commands_one_after_the_other(monkeypatch, capsys):
    for command in COMMANDS:
        monkeypatch.setattr(sys, "argv", ["ellq", *shlex.split(command)])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 0, capsys.readouterr().err


def test_the_page_has_every_option():
    page = (DOCS / "cli.md").read_text()
    for command in get_command(app).commands.values():
        for option in (each for each in command.params if each.param_type_name == "option"):
            assert any(re.search(rf"(?<!\w){re.escape(name)}\b", page) for name in option.opts), (command.name, option.opts)


def test_jobs_ask_for_fields_that_there_are():
    queries = re.findall(r"^jq --exit-status '(.*?)'", JOBS, re.MULTILINE | re.DOTALL)
    assert len(queries) == 6
    asked = set(re.findall(r"\.([a-z]\w+)", " ".join(queries)))
    package = Path(ellq_client.__file__).parent
    schemas = (package / "report.schema.json").read_text() + (package / "folder-report.schema.json").read_text()
    assert asked <= {*re.findall(r'"(\w+)": \{', schemas), *(field.name for field in fields(Verification))}


def default(value):
    """Return how the table writes the default of an option."""
    if value is None:
        return "required"
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else f"{value:g}"


def test_the_table_of_rules_tells_every_default():
    page = (DOCS / "cli.md").read_text()
    for rule, options in RULE_OPTIONS.items():
        (row,) = re.findall(rf"^\| `{rule}` \| (.*?) \|", page, re.MULTILINE)
        told = dict(re.findall(r"`--([\w-]+)` \((\S+)\)", row))
        words = {"max-error": "either", "ratio": "or"} if rule == "error-budget" else {}
        assert told == {name: words.get(name) or default(value) for name, value in options.items()}


def test_the_table_of_exit_codes_is_that_of_help():
    page = (DOCS / "cli.md").read_text()
    explained = dict(re.findall(r"^(\d+) +(.*)$", EXPLAINED, re.MULTILINE))
    told = dict(re.findall(r"^\| (\d+) \| (.*?) \|$", page, re.MULTILINE))
    assert told.keys() == explained.keys()
    for code, meaning in explained.items():
        assert told[code].replace("`", "").startswith(meaning)
