"""Each odd or hostile thing either works, and its own library opens what comes back, or is refused by name."""

import os
import pickle
import re
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from ellq_client import Client, Fraction, SourceError, verify, write_report
from ellq_client.cli import exits
from tests.corpus.cases import Case
from tests.corpus.generate import CASES
from tests.corpus.opening import numbers_in

Ellq = Callable[..., tuple[object, str]]

HALF = Fraction(pruned_ratio=0.5)

WORKING = {title: case for title, case in CASES.items() if case.refused is None}
REFUSED = {title: case for title, case in CASES.items() if case.refused is not None}


def each(cases: dict[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder beside that of the case, for what comes out."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.mark.timeout(60)  # of what hangs
@each(WORKING)
def test_what_works_comes_back_whole(client: Client, case: Case, tmp_path: Path, place: Path) -> None:
    source = case.write(tmp_path / "case")
    output, report = place / case.name, place / "report.json"
    before = snapshot(source.parent)
    analysis = client.analyze(source, rule=HALF, **case.options).result()
    result = client.compress(source, output, rule=HALF, **case.options).result()
    write_report(result, report)
    verify(source, output, report)
    assert {tensor.name for tensor in result.tensors if tensor.treatment == "compress"} == case.compressed
    assert {tensor.name for tensor in analysis.tensors if tensor.treatment == "compress"} == case.compressed
    old, new = numbers_in(source), numbers_in(output)
    assert new.keys() == {name for name in old if "optimizer" not in name}
    assert all(is_one_of(name, case.compressed | case.tied) for name in new if old[name] != new[name])
    assert snapshot(source.parent) == before


@pytest.mark.timeout(60)
@each(REFUSED)
def test_what_is_refused_is_named_and_leaves_nothing(client: Client, case: Case, tmp_path: Path, place: Path) -> None:
    source = case.write(tmp_path / "case")
    before = snapshot(tmp_path)
    check_refused(case, lambda: client.analyze(source, rule=HALF, **case.options).result())
    check_refused(case, lambda: client.compress(source, place / case.name, rule=HALF, **case.options).result())
    if case.refused.error is SourceError:
        with pytest.raises(SourceError):
            verify(source, source)
    assert snapshot(tmp_path) == before


@pytest.mark.timeout(60)
@each(REFUSED)
def test_the_command_line_says_so_in_words(ellq: Ellq, case: Case, tmp_path: Path, place: Path) -> None:
    source = case.write(tmp_path / "case")
    before = snapshot(tmp_path)
    code, told = ellq("compress", source, "-o", place / case.name, "--rule", "fraction", "--ratio", "0.5")
    assert code in (exits.USAGE, exits.LOCAL_FILE)
    assert told.startswith("ellq: ")
    assert "Traceback" not in told
    assert snapshot(tmp_path) == before


def is_one_of(name: str, tensors: frozenset[str]) -> bool:
    """Return whether a library's name of a tensor is, behind a prefix that says where it lies, one of these."""
    return any(name == one or name.endswith((f".{one}", f":{one}")) for one in tensors)


def check_refused(case: Case, call) -> None:
    told = case.refused
    assert told is not None
    with pytest.raises(told.error) as caught:
        call()
    assert type(caught.value) is told.error
    assert getattr(caught.value, "reason", None) == told.reason
    assert re.search(told.words, str(caught.value)), str(caught.value)


def snapshot(folder: Path) -> dict[str, str]:
    """Return what lies in a folder, without opening what is no file."""
    found: dict[str, str] = {}
    for directory, folders, files in os.walk(folder):
        for path in (Path(directory) / name for name in (*folders, *files)):
            mode = path.lstat().st_mode
            readable = stat.S_ISREG(mode) and os.access(path, os.R_OK)
            found[str(path)] = sha256(path.read_bytes()).hexdigest() if readable else oct(mode)
    return found


def test_the_programs_of_the_corpus_would_run_if_anybody_let_them(tmp_path: Path) -> None:
    source = CASES["PyTorch: a program in a bare pickle"].write(tmp_path / "case")
    pickle.loads(source.read_bytes())
    assert source.with_name("executed").exists()
