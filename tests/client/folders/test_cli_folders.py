"""Folders on the command line, and processes that are really killed."""

import subprocess
import sys

import pytest
from tests.client.folders import kills
from tests.client.folders.kills import strikes, survive
from tests.client.folders.models import INDEX, shard_name, tree

from ellq_client import Client, Tail, verify
from ellq_client.cli import exits
from ellq_client.cli.progress import Work, _duration, _lines, work_on
from ellq_client.folders.files import PROGRESS
from ellq_client.folders.finished import REPORT

TAIL = ["--rule", "tail", "--epsilon", "0.3"]


def test_a_folder_is_compressed_reported_and_analysed(ellq, fake, model, tmp_path):
    out, report = tmp_path / "out", tmp_path / "report.json"
    code, table, err = ellq("compress", model, "-o", out, *TAIL, "--json", report)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in table.splitlines()[1:5]] == [
        "embed_tokens.weight",
        "layer1.weight",
        "layer2.weight",
        "layer3.weight",
    ]
    assert report.read_bytes() == (out / REPORT).read_bytes()
    assert tree(out).keys() == tree(model).keys() | {REPORT}
    assert ellq("analyze", model)[0] == 0
    assert len(fake.uploads) == 3 + 1


def test_the_same_command_again_is_content_and_another_is_not(ellq, model, tmp_path):
    out = tmp_path / "out"
    report = tmp_path / "report.json"
    command = ("compress", model, "-o", out, *TAIL, "--json", report)
    first, again = ellq(*command), ellq(*command)
    assert first[0] == again[0] == 0
    new = [line for line in again[1].splitlines() if line not in first[1]]
    assert new[0].startswith("confirmed  ")
    assert new[1:] == ["           it was finished already: every byte was checked, and nothing was done"]
    report.write_text("mine")
    code, _, err = ellq(*command)
    assert (code, f"{report} exists; --force replaces it" in err, report.read_text()) == (exits.USAGE, True, "mine")
    assert ellq(*command, "--force")[0] == 0
    assert report.read_bytes() == (out / REPORT).read_bytes()
    code, _, err = ellq("compress", model, "-o", out, *TAIL, "--ignore-zeros", "--force")
    assert (code, "it was made with another ignore_zeros: False, now True" in err) == (exits.USAGE, True)


def test_what_is_wrong_with_a_folder_is_said_before_any_call(ellq, fake, model, tmp_path):
    (model / shard_name(2, 3)).unlink()
    code, _, err = ellq("compress", model, "-o", tmp_path / "out", *TAIL)
    assert (code, fake.uploads) == (exits.LOCAL_FILE, [])
    assert f"{INDEX} names the shard '{shard_name(2, 3)}'" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("calls", "told"), [(0, "nothing was written"), (2, "is kept in")])
def test_an_interruption_tells_what_is_kept(ellq, model, tmp_path, monkeypatch, calls, told):
    left = [calls]
    perform = Client.compress.__globals__["Run"]._perform

    def interrupted(run, action):
        if type(action).__name__ == "Open":
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        return perform(run, action)

    with monkeypatch.context() as patch:
        patch.setattr("ellq_client.client.Run._perform", interrupted)
        code, _, err = ellq("compress", model, "-o", tmp_path / "out", *TAIL, "--streams", 1)
    assert (code, told in err) == (exits.INTERRUPTED, True)
    assert (tmp_path / "out" / PROGRESS).exists() == bool(calls)
    assert ellq("compress", model, "-o", tmp_path / "out", *TAIL)[0] == 0


def test_progress_counts_what_was_done_before_but_reckons_without_it(fake, model, tmp_path, capsys):
    with (
        Client(fake.address, streams=1) as client,
        client.compress(model, tmp_path / "out", rule=Tail(epsilon=0.3, p=2)) as run,
    ):
        for _ in range(4):
            next(run)
    work = work_on(model, tmp_path / "out")
    shard = 6 * 8 * 4 + 6 * 4
    assert work == Work("model", 3 * shard + 5 * 8 * 4, shard + 5 * 8 * 4)
    times = iter([100.0, 130.0, 160.0])
    show = _lines(Work("model", 10_000_000, 4_000_000), clock=lambda: next(times))
    show(5_000_000, "a")
    show(6_000_000, "b")
    show(10_000_000, "c")
    assert capsys.readouterr().err.splitlines() == [
        "ellq: model: 4.0 MB were done before",
        "ellq: model: 5.0 of 10.0 MB, at a",
        "ellq: model: 6.0 of 10.0 MB, about 2.0 min left, at b",
        "ellq: model: 10.0 of 10.0 MB, about 0 s left, at c",
    ]
    assert [_duration(seconds) for seconds in (0.2, 59, 90, 7200)] == ["1 s", "59 s", "1.5 min", "2.0 h"]


@pytest.mark.timeout(300)
def test_kills_of_client_and_server_change_nothing(tmp_path):
    told = survive(tmp_path, kills=4, seed=3)
    assert strikes(told) == 4
    assert told["finished"] >= 1
    found = verify(tmp_path / "model", tmp_path / "out0", tmp_path / "out0" / REPORT)
    assert found.weights_cut > 0


@pytest.mark.parametrize(
    ("does", "seconds", "told"),
    [
        ("sys.exit('last words')", 120, "exit code 1; on standard error: 'last words"),
        ("time.sleep(3600)", 1, "no end in 1 seconds"),
    ],
)
def test_a_kill_that_changes_something_is_told_with_its_exit_code(monkeypatch, does, seconds, told):
    monkeypatch.setattr(kills, "LONGEST_SECONDS", seconds)
    client = subprocess.Popen([sys.executable, "-c", f"import sys, time; {does}"], stderr=subprocess.PIPE, text=True)
    with pytest.raises(AssertionError, match=told):
        kills.exit_code(client, allowed=(0,))
