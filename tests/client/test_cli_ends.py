"""How the command line ends: its exit codes, and what is left behind. In a process of its own where that matters."""

import errno
import os
import signal
import subprocess
import sys
import time

import grpc
import pytest
from tests.client.conftest import COMMAND

from ellq_client import errors
from ellq_client.channels import ServerAddress
from ellq_client.cli import exits
from ellq_client.handshakes import unreached


def test_a_file_for_tls_that_cannot_be_read_is_a_local_file(ellq, checkpoint):
    code, _, err = ellq("analyze", checkpoint, "--tls-ca", "absent.pem")
    assert (code, "cannot read absent.pem for TLS: No such file" in err) == (exits.LOCAL_FILE, True), err


def test_where_no_server_is_the_message_says_what_to_check(ellq, checkpoint):
    code, _, err = ellq("analyze", checkpoint, "--server", "[::1]:1")
    assert (code, "check the address, and that a server runs there (`ellq serve` starts one)" in err) == (exits.NO_SERVER, True)
    words = "failed to connect to all addresses; last error: UNKNOWN: ipv6:%5B::1%5D:1: Connection refused"
    for uri, hidden in [("dns:///localhost:1", True), ("dns:///[::1]:1", False)]:
        assert ("127.0.0.1 in its place" in unreached(words, ServerAddress(uri, "target"))[1]) is hidden
    assert "ellq serve" in unreached("DNS resolution failed for a:1", ServerAddress("dns:///a:1", "target"))[1]


def test_serve_without_the_server_says_what_to_install(ellq, monkeypatch):
    monkeypatch.setitem(sys.modules, "ellq_server.main", None)
    code, _, err = ellq("serve")
    assert (code, "pip install 'ellq[server]'" in err, "--server" in err) == (exits.USAGE, True, False)


@pytest.mark.parametrize(
    ("refusal_of", "code"),
    [
        (("INVALID_ARGUMENT", "INVALID_Q"), 2),
        (("RESOURCE_EXHAUSTED", "BUSY"), 3),
        (("UNAVAILABLE", "DRAINING"), 3),
        (("UNAUTHENTICATED", None), 3),
        (("UNIMPLEMENTED", None), 3),
        (("DEADLINE_EXCEEDED", None), 4),
        (("INTERNAL", "CERTIFICATE_REFUTED"), 1),
        (("UNKNOWN", None), 1),
    ],
)
def test_exit_codes_tell_whose_move_it_is(ellq, fake, refusal, checkpoint, no_waiting, refusal_of, code):
    status, reason = refusal_of
    fake.refusals = [refusal(grpc.StatusCode[status], "because", reason)] * 4
    found, _, err = ellq("analyze", checkpoint)
    assert found == code
    assert "ellq: because" in err


def test_every_error_has_an_exit_code_and_help_tells_it():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.EllqError)]
    for kind in set(kinds) - {errors.EllqError, errors.RemoteError}:
        assert exits.exit_code(kind.__new__(kind)) in {1, 2, 3, 4, 5}
    for code in {*exits.CODES.values(), exits.INTERRUPTED, exits.BROKEN_PIPE}:
        assert f"\n{code} " in exits.EXPLAINED


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interruption_leaves_nothing_behind(fake, checkpoint, tmp_path, monkeypatch, told):
    answer = fake._answer

    def slow(request_iterator, context, kind):
        for number, frame in enumerate(answer(request_iterator, context, kind)):
            yield frame
            if number == 5:
                time.sleep(3)

    monkeypatch.setattr(fake, "_answer", slow)
    output = tmp_path / "small.safetensors"
    command = [*COMMAND, "compress", str(checkpoint), "-o", str(output), "--rule", "n-of-m", "--server", fake.address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 20
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(list(tmp_path.iterdir())) == 2, "the unfinished file"
        process.send_signal(told)
        _, err = process.communicate(timeout=20)
    assert process.returncode == exits.INTERRUPTED, err
    assert "interrupted" in err
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_whoever_calls_the_command_has_its_signals_back(ellq, checkpoint):
    told = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in told]
    assert before == [signal.SIG_DFL] * 2
    for words in (["analyze", checkpoint], ["analyze", "absent.safetensors"]):
        ellq(*words)
        assert [signal.getsignal(number) for number in told] == before


def test_a_reader_that_goes_away_is_no_crash(fake, checkpoint):
    words = ["analyze", str(checkpoint), "--json", "-", "--quiet", "--server", fake.address]
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen([*COMMAND, *words], stdout=writer, stderr=subprocess.PIPE, text=True) as process:
        os.close(writer)
        _, err = process.communicate(timeout=20)
    assert process.returncode == exits.BROKEN_PIPE
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_a_standard_output_that_is_full_is_said(fake, checkpoint):
    words = ["analyze", str(checkpoint), "--server", fake.address]
    with open("/dev/full", "w") as full:
        ended = subprocess.run([*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (
        exits.LOCAL_FILE,
        "ellq: cannot write to standard output: No space left on device",
    )


def test_what_else_the_system_refuses_is_not_blamed_on_standard_output(command_line, checkpoint, monkeypatch):
    def refused():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.delenv("ELLQ_SERVER", raising=False)
    monkeypatch.setattr("asyncio.new_event_loop", refused)
    code, _, err = command_line("analyze", checkpoint)
    assert (code, err.splitlines()[-1]) == (exits.LOCAL_FILE, "ellq: Too many open files")


@pytest.mark.parametrize("closed", ["<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed_are_not_missed(fake, checkpoint, tmp_path, closed):
    """Whatever is opened next would get their numbers, and then the text that is meant for them."""
    output = tmp_path / "small.safetensors"
    words = ["compress", str(checkpoint), "-o", str(output), "--rule", "n-of-m", "--server", fake.address]
    ended = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, *words], timeout=20, check=False)
    assert ended.returncode == 0
    assert output.read_bytes() == checkpoint.read_bytes()
