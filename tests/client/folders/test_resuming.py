"""Killed at any moment, the same request goes on, and the end is the same to the byte."""

import contextlib
import errno
import fcntl
import json
import os
from itertools import count
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from tests.client.folders.models import INDEX, shard_name, tree, write_model

from ellq_client import Client, Fraction, InvalidOutput, OutputError, Tail
from ellq_client.folders.files import PROGRESS
from ellq_client.folders.finished import REPORT
from ellq_client.folders.folder import open_folder
from ellq_client.folders.journal import read_journal
from ellq_client.folders.workplace import Workplace

TAIL = Tail(epsilon=0.3, p=2)
HALF_OF_ALL = Fraction(pruned_ratio=0.5, scope="global")


class Killed(BaseException):
    """The process is no more: whatever it still tries does nothing to the disk."""


class Death:
    """Ends the process, as far as the disk can tell, at its n-th change."""

    def __init__(self, patch: pytest.MonkeyPatch, *, after: int) -> None:
        self.changes_left = after
        for name in ("replace", "fsync", "mkdir", "rmdir", "unlink", "truncate"):
            patch.setattr(os, name, self.mortal(getattr(os, name)))
        patch.setattr(Path, "open", self.mortal(Path.open, counts=lambda path, mode="r", *_, **__: mode not in ("r", "rb")))

    def mortal(self, change, counts=lambda *_, **__: True):
        def changed(*arguments, **options):
            if counts(*arguments, **options):
                if not self.changes_left:
                    raise Killed
                self.changes_left -= 1
            return change(*arguments, **options)

        return changed


def names_and_bytes(root: Path) -> dict[str, bytes]:
    return tree(root) | {f"{path.relative_to(root).as_posix()}/": b"" for path in root.rglob("*") if path.is_dir()}


@pytest.mark.parametrize(
    ("streams", "rule"),
    [("client", TAIL), ("client", HALF_OF_ALL), ("wide_client", TAIL)],
    ids=["shard by shard", "all shards at once", "three shards at a time"],
)
def test_a_kill_at_every_change_of_the_disk(request, tmp_path, monkeypatch, streams, rule):
    client = request.getfixturevalue(streams)
    model = write_model(tmp_path / "model")
    client.compress(model, tmp_path / "reference", rule=rule).result()
    reference = names_and_bytes(tmp_path / "reference")
    for number in count():
        out = tmp_path / f"out{number}"
        with monkeypatch.context() as patch:
            death = Death(patch, after=number)
            with contextlib.suppress(Killed):
                client.compress(model, out, rule=rule).result()
        if death.changes_left:
            break
        if (out / INDEX).exists():  # whoever looks now may take it for finished
            assert {name: data for name, data in tree(out).items() if not name.startswith(PROGRESS)} == tree(
                tmp_path / "reference"
            )
        client.compress(model, out, rule=rule).result()
        assert names_and_bytes(out) == reference, f"killed before change {number}"
    assert names_and_bytes(out) == reference
    assert number > 30


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """What is flushed to the disk, and which names change there, in order."""
    seen: list[tuple[str, Path]] = []

    def watched(name, places):
        change = getattr(os, name)

        def changed(*arguments, **options):
            found = change(*arguments, **options)
            seen.extend((name, Path(place)) for place in places(*arguments))
            return found

        monkeypatch.setattr(os, name, changed)

    watched("fsync", lambda handle: [os.readlink(f"/proc/self/fd/{handle}")])
    watched("replace", lambda *places: places)
    watched("rmdir", lambda place, **_: [place])
    return seen


def test_nothing_counts_on_what_is_not_on_the_disk(client, model, tmp_path, changes):
    """A kill of the machine is not to be tried: what a disk has after one is what was flushed before."""
    out = tmp_path / "out"
    client.compress(model, out, rule=TAIL).result()
    work, journal = out / PROGRESS, out / PROGRESS / "journal.jsonl"
    replaced = [number for number, (change, _) in enumerate(changes) if change == "replace"][::2]
    assert len(replaced) == 1 + 3 + len(tree(model)) - 3 + 1  # the plan, the shards, all other files, the report
    for number in replaced:
        old, new = changes[number][1], changes[number + 1][1]
        assert ("fsync", old) in changes[:number]
        assert changes[number + 2] == ("fsync", new.parent)
    noted = [number for number, change in enumerate(changes) if change == ("fsync", journal)]
    assert len(noted) == 3
    for shard, number in enumerate(noted, 1):
        assert ("fsync", work / shard_name(shard, 3)) in changes[: number - 1]
        assert changes[number - 1] == ("fsync", work)
    assert changes[-2:] == [("rmdir", work), ("fsync", out)]


def test_what_is_finished_is_not_sent_again(fake, model, tmp_path, monkeypatch):
    with Client(fake.address, streams=1) as client:
        with client.compress(model, tmp_path / "out", rule=TAIL) as run:
            names = [next(run).name for _ in range(4)]
        assert len(fake.uploads) == 2
        with client.compress(model, tmp_path / "out", rule=TAIL) as run:
            rest = [report.name for report in run]
            result = run.result()
    assert fake.uploads[2:] == [(model / shard_name(number, 3)).read_bytes() for number in (2, 3)]
    assert [tensor.name for tensor in result.tensors] == [*names[:3], *rest]


def test_a_finished_output_is_recognised(fake, model, tmp_path):
    with Client(fake.address, streams=1) as client:
        first = client.compress(model, tmp_path / "out", rule=TAIL).result()
        calls = len(fake.uploads)
        again = client.compress(model, tmp_path / "out", rule=TAIL).result()
        assert (again, len(fake.uploads)) == (first, calls)
        assert (first.confirmed, again.confirmed) == (False, True)
        (tmp_path / "out" / "config.json").write_text("other")
        with pytest.raises(InvalidOutput, match="name a new folder, or remove it") as changed:
            client.compress(model, tmp_path / "out", rule=TAIL).result()
        with pytest.raises(InvalidOutput, match="is finished, and this is not the command that made it") as other:
            client.compress(model, tmp_path / "out", rule=HALF_OF_ALL).result()
    assert str(changed.value).splitlines()[1:] == ["  config.json is not that of the source"]
    assert str(other.value).splitlines()[1:] == [
        "  it was made with another rule: {'kind': 'tail', 'epsilon': 0.3, 'p': 2, 'scope': 'neuron'}, "
        "now {'kind': 'fraction', 'pruned_ratio': 0.5, 'scope': 'global'}"
    ]
    assert (tmp_path / "out" / "config.json").read_text() == "other"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (shard_name(2, 3), f"{shard_name(2, 3)}: not every byte is as {REPORT} has it"),
        (INDEX, f"{INDEX} is not that of the source"),
        ("LICENSE", "LICENSE is not that of the source"),
    ],
)
@pytest.mark.parametrize("how", ["gone", "changed"])
def test_what_changed_in_a_finished_output_is_named(client, model, tmp_path, name, told, how):
    place = tmp_path / "out" / name
    client.compress(model, tmp_path / "out", rule=TAIL).result()
    place.unlink() if how == "gone" else place.write_bytes(place.read_bytes()[:-1] + b"x")
    with pytest.raises(InvalidOutput, match="was finished, and is not what its report says any more") as caught:
        client.compress(model, tmp_path / "out", rule=TAIL).result()
    assert str(caught.value).splitlines()[1:] == [f"  {told}"]


def test_a_finished_output_of_another_source_is_named(client, model, tmp_path):
    client.compress(model, tmp_path / "out", rule=TAIL).result()
    os.utime(model / shard_name(1, 3), ns=(1, 1))
    with pytest.raises(InvalidOutput, match="shards or index of the source are not what they were then"):
        client.compress(model, tmp_path / "out", rule=TAIL).result()


@pytest.fixture
def unfinished(fake, model, tmp_path):
    """Return an output of which one shard is finished, and a client to go on with."""
    with Client(fake.address, streams=1) as client:
        with client.compress(model, tmp_path / "out", rule=TAIL) as run:
            for _ in range(4):
                next(run)
        assert [*tree(tmp_path / "out" / PROGRESS)].count("journal.jsonl") == 1
        yield tmp_path / "out", client


def test_another_request_is_refused(unfinished, model):
    out, client = unfinished
    before = tree(out)
    with pytest.raises(OutputError, match=r"unfinished compression; repeat the command that began it") as caught:
        client.compress(model, out, rule=Tail(epsilon=0.2, p=2), exclude=["x"]).result()
    assert str(caught.value).splitlines()[1:] == [
        "  it was begun with another rule: {'kind': 'tail', 'epsilon': 0.3, 'p': 2, 'scope': 'neuron'}, "
        "now {'kind': 'tail', 'epsilon': 0.2, 'p': 2, 'scope': 'neuron'}",
        "  it was begun with another exclude: [], now ['x']",
    ]
    assert tree(out) == before


def test_a_changed_source_is_refused(unfinished, model):
    out, client = unfinished
    before = tree(out)
    name = shard_name(1, 3)
    save_file({key: -array for key, array in load_file(model / name).items()}, model / name)
    (model / INDEX).write_text((model / INDEX).read_text() + " ")
    with pytest.raises(OutputError) as caught:
        client.compress(model, out, rule=TAIL).result()
    assert str(caught.value).splitlines()[1:] == [
        f"  {name} of the source is not what it was then",
        "  the index of the source is not what it was then",
    ]
    assert tree(out) == before


def test_a_torn_line_of_the_journal_is_a_part_to_make_again(unfinished, model, fake):
    out, client = unfinished
    journal = out / PROGRESS / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    client.compress(model, out, rule=TAIL).result()
    assert len(fake.uploads) == 2 + 3
    assert tree(out).keys() == tree(model).keys() | {REPORT}


@pytest.mark.parametrize("how", ["flipped", "cut off", "no checkpoint", "another header", "gone"])
def test_a_finished_shard_that_changed_is_made_again(unfinished, model, fake, how):
    out, client = unfinished
    shard = out / PROGRESS / shard_name(1, 3)
    data = shard.read_bytes()
    changed = {
        "flipped": data[:-1] + bytes([data[-1] ^ 1]),
        "cut off": data[:-1],
        "no checkpoint": b"",
        "another header": data.replace(b'"shard":"1"', b'"shard":"4"'),
    }
    assert data not in changed.values()
    shard.unlink() if how == "gone" else shard.write_bytes(changed[how])
    client.compress(model, out, rule=TAIL).result()
    assert len(fake.uploads) == 2 + 3
    assert (out / shard.name).read_bytes() == (model / shard.name).read_bytes()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("journal.jsonl", "{}\n"),
        ("journal.jsonl", "[\n"),
        ("journal.jsonl", "[" * 100_000 + "\n"),
        ("journal.jsonl", '{"shards": "x", "report": {}}\n'),
        ("plan.json", "["),
        ("plan.json", "3"),
        ("plan.json", "[" * 100_000),
        ("plan.json", '{"schema": "ellq.folder-plan/1"}'),
        ("plan.json", '{"schema": "ellq.folder-plan/1", "request": {}, "shards": [1], "index": null}'),
        ("plan.json", '{"schema": "ellq.folder-plan/1", "request": [], "shards": [], "index": null}'),
        ("plan.json", '{"schema": "ellq.folder-plan/1", "request": {}, "shards": []}'),
    ],
)
def test_damaged_notes_are_named(unfinished, model, name, text):
    out, client = unfinished
    (out / PROGRESS / name).write_text(text)
    with pytest.raises(OutputError, match=f"{name} is damaged .*; remove .*out and begin anew"):
        client.compress(model, out, rule=TAIL).result()


def test_a_plan_of_another_version_is_not_called_damaged(unfinished, model):
    out, client = unfinished
    (out / PROGRESS / "plan.json").write_text('{"schema": "ellq.folder-plan/0", "request": []}')
    with pytest.raises(OutputError, match="repeat the command that began it, or remove it") as caught:
        client.compress(model, out, rule=TAIL).result()
    assert str(caught.value).splitlines()[1:] == ["  it was begun by another version of ellq"]


@pytest.mark.parametrize("name", [shard_name(1, 3), "copy.partial", "journal.jsonl", "plan.json"])
def test_a_folder_of_work_that_nobody_began_is_refused(fake, model, tmp_path, name):
    victim, planted = tmp_path / "victim", tmp_path / "out" / PROGRESS / name
    victim.write_text("precious")
    planted.parent.mkdir(parents=True)
    planted.symlink_to(victim)
    with (
        Client(fake.address, streams=1) as client,
        pytest.raises(OutputError, match=r"holds .* but no plan\.json|no ordinary file"),
    ):
        client.compress(model, tmp_path / "out", rule=TAIL).result()
    assert (victim.read_text(), planted.is_symlink(), fake.uploads) == ("precious", True, [])


@pytest.mark.parametrize("name", [shard_name(2, 3), "copy.partial", "journal.jsonl", "plan.json"])
def test_nothing_is_written_through_a_link(unfinished, model, tmp_path, name):
    out, client = unfinished
    victim, planted = tmp_path / "victim", out / PROGRESS / name
    victim.write_text("precious")
    planted.unlink(missing_ok=True)
    planted.symlink_to(victim)
    if name.startswith(("journal", "plan")):
        with pytest.raises(OutputError, match=f"{name} is no ordinary file"):
            client.compress(model, out, rule=TAIL).result()
    else:
        client.compress(model, out, rule=TAIL).result()
        assert not (out / name).is_symlink()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("change", ["empty", "cut", "unknown", "cleared", "twice", "no digest"])
def test_parts_that_are_not_those_of_the_folder_make_no_finished_output(fake, model, tmp_path, change):
    out = tmp_path / "out"
    with Client(fake.address, streams=1) as client:
        client.compress(model, out, rule=TAIL).result()
        told = json.loads((out / REPORT).read_text())
        parts = told["parts"]
        if change == "cleared":
            parts[2]["shards"] = []
        elif change == "unknown":
            parts[0]["shards"] = ["nope.safetensors"]
        elif change == "no digest":
            parts[1]["report"]["tensors"][0]["payload"] = None
        else:
            told["parts"] = {"empty": [], "cut": parts[:2], "twice": [*parts, parts[0]]}[change]
        if change in ("cut", "cleared"):
            (out / shard_name(3, 3)).unlink()
        (out / REPORT).write_text(json.dumps(told))
        with pytest.raises(InvalidOutput, match="was finished, and is not what its report says any more"):
            client.compress(model, out, rule=TAIL).result()


def test_two_at_once_are_refused(unfinished, model, fake):
    out, client = unfinished
    with client.compress(model, out, rule=TAIL) as run, Client(fake.address) as other:
        next(run)
        with pytest.raises(OutputError, match="another process is at work on"):
            other.compress(model, out, rule=TAIL).result()
        assert run.result().summary.tensors == 7


def test_a_full_disk_leaves_no_half_of_a_line_before_the_next(fake, model, tmp_path, monkeypatch):
    with Client(fake.address, streams=1) as client:
        parts = client.compress(model, tmp_path / "out", rule=TAIL).result().parts
    write = os.write

    def write_half(handle, data):
        if len(data) < 50:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[: len(data) // 2])

    with Workplace(open_folder(model), tmp_path / "other", {"schema": "x"}) as place:
        place.record(parts[0])
        monkeypatch.setattr(os, "write", write_half)
        with pytest.raises(OutputError, match="No space left on device"):
            place.record(parts[1])
        monkeypatch.setattr(os, "write", write)
        place.record(parts[2])
    assert read_journal(tmp_path / "other") == [parts[0], parts[2]]


def test_a_folder_of_work_that_was_removed_while_it_was_entered_is_not_gone_on_in(model, tmp_path, monkeypatch):
    flock = fcntl.flock

    def lock_too_late(handle, operation):
        (tmp_path / "out" / PROGRESS).rmdir()
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", lock_too_late)
    with pytest.raises(OutputError, match=r"another process ended its work on .* just now; repeat the command"):
        Workplace(open_folder(model), tmp_path / "out", {"schema": "x"})


def test_an_output_that_cannot_be_listed_is_named(model, tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(OutputError, match=r"cannot write .*out: Permission denied"):
        Workplace(open_folder(model), tmp_path / "out", {"schema": "x"})


def test_an_unfinished_output_is_no_source(unfinished, tmp_path):
    out, client = unfinished
    with pytest.raises(Exception, match="itself a compression that is not finished"):
        client.compress(out, tmp_path / "again", rule=TAIL).result()
    assert not (tmp_path / "again").exists()


def test_whoever_is_refused_later_is_told_what_is_kept(fake, refusal, model, tmp_path, no_waiting):
    import grpc

    with Client(fake.address, streams=1) as client:
        run = client.compress(model, tmp_path / "out", rule=TAIL)
        for _ in range(3):
            next(run)
        fake.refusals = [refusal(grpc.StatusCode.INVALID_ARGUMENT)]
        with pytest.raises(Exception, match="no") as caught:
            run.result()
    assert caught.value.__notes__ == [
        f"1 of 3 parts of {model} are finished in {tmp_path / 'out'}; the same command goes on from there"
    ]
