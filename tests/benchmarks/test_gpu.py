"""What runs on a card, run by Triton's interpreter on tiny tensors: it must not break on trivia where a card is at hand."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.bench.records import read_runs
from tests.benchmarks.bench.targets import TARGETS
from tests.benchmarks.gpu import __main__ as gpu
from tests.benchmarks.gpu.cases import CASES
from tests.benchmarks.gpu.parts import Part, run
from tests.benchmarks.gpu.turns import in_turns


def test_everything_is_measured_and_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gpu.SIZES, "tiny", gpu.SIZES["tiny"][:1])
    page = tmp_path / "gpu_results.md"
    assert gpu.main(["--interpreted", "--only", "bytes_come_back and triton and BF16", "--page", str(page)]) == 0
    text = page.read_text()
    assert "Differs from the CPU: nothing." in text
    assert "| compress |" in text
    assert "1 passed" in text
    records = read_runs([page.with_suffix(".json")]).of("gpu")
    assert {record["what"] for record in records} >= {"copy", "statistics, 1 and 2", "choose", "compress", "torch.sort"}


def test_the_targets_are_about_cases_that_there_are() -> None:
    prefixes = {target.case.split(", ")[0] for target in TARGETS if target.bench == "gpu"}
    assert prefixes == {case.name for case in CASES} - {"adapters"}


def test_a_part_that_fails_is_told_of_and_keeps_what_it_wrote(tmp_path: Path) -> None:
    file = tmp_path / "records"
    written = json.dumps({"seconds": 1}) + '\n{"cut'
    program = f"open({str(file)!r}, 'w').write({written!r}); print('last words'); raise SystemExit(3)"
    ended = run(Part("broken", ["-c", program], 60, file), interpreted=False)
    assert ended.why == "ended with 3"
    assert ended.output == "last words\n"
    assert ended.records == [{"seconds": 1}]


def test_a_part_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    file = tmp_path / "went on"
    started = f"import time; time.sleep(30); open({str(file)!r}, 'w')"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {started!r}])"
    ended = run(Part("endless", ["-c", program], 3), interpreted=False)
    assert ended.why == "took longer than its 3 seconds"
    assert not file.exists(), "whoever holds the output holds up its end"


def test_an_action_that_raises_leaves_the_others_their_turns() -> None:
    turns: list[str] = []

    def broken() -> None:
        turns.append("broken")
        raise ValueError("no")

    seconds, failed = in_turns({"broken": broken, "sound": lambda: turns.append("sound")}, lambda: None, turns=2)
    assert set(seconds) == {"sound"}
    assert failed == {"broken": "ValueError: no"}
    assert turns == ["broken", *["sound"] * 4]
