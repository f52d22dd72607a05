"""TLS of the server over real sockets: certificates, their replacement, mutual TLS, and health beside it."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives import serialization as form
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ellq.v1 import compression_pb2 as pb
from ellq.v1 import compression_pb2_grpc as pb_grpc
from ellq_server.credentials import UnusableCertificate, credentials_of
from ellq_server.embedded import EmbeddedServer
from ellq_server.probe import probe
from ellq_server.settings import Settings
from tests.certificates import Authority, Pair
from tests.server.process import Process, free_port

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """An authority that nobody here trusts, unless a test says so."""
    (tmp_path / "stranger").mkdir()
    return Authority(tmp_path / "stranger")


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Start a server with TLS on a free port and return its address."""
    with ExitStack() as stack:

        def start(pair: Pair, **settings: object) -> str:
            address = f"127.0.0.1:{free_port()}"
            files = {"tls_certificate_file": str(pair.certificate), "tls_key_file": str(pair.key)}
            drain = {"metrics_port": 0, "drain_seconds": 0.0, "drain_delay_seconds": 0.0}
            server = EmbeddedServer(Settings.model_construct(listen=address, **files, **drain, **settings))
            stack.callback(server.stop)
            return address

        yield start


def channel(address: str, authority: Authority, pair: Pair | None = None) -> grpc.Channel:
    shown = (None, None) if pair is None else (pair.key.read_bytes(), pair.certificate.read_bytes())
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), *shown)
    return grpc.secure_channel(address, credentials, options=[("grpc.use_local_subchannel_pool", 1)])


def answers(road: grpc.Channel) -> bool:
    """Whether a call comes through; every other error than that it cannot is an error of the test."""
    try:
        pb_grpc.CompressionServiceStub(road).GetCapabilities(pb.GetCapabilitiesRequest(), timeout=10)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    return True


def reached(address: str, authority: Authority, pair: Pair | None = None) -> bool:
    with channel(address, authority, pair) as road:
        return answers(road)


def replace(pair: Pair, by: Pair) -> None:
    os.replace(by.key, pair.key)
    os.replace(by.certificate, pair.certificate)


def test_calls_and_health_come_by_tls_and_not_in_plaintext(serve: Callable[..., str], authority: Authority) -> None:
    address = serve(authority.pair("server"))
    with channel(address, authority) as road:
        assert answers(road)
        assert health_pb2_grpc.HealthStub(road).Check(health_pb2.HealthCheckRequest()).status == SERVING
    with grpc.insecure_channel(address) as road:
        assert not answers(road)


def test_a_replaced_certificate_is_shown_to_new_connections_while_old_ones_live_on(
    serve: Callable[..., str], authority: Authority, stranger: Authority
) -> None:
    pair = authority.pair("server")
    address = serve(pair)
    with channel(address, authority) as old:
        assert answers(old)
        replace(pair, stranger.pair("server"))
        assert reached(address, stranger)
        assert not reached(address, authority)
        assert answers(old)


def test_a_directory_that_is_replaced_behind_a_link_is_followed(
    serve: Callable[..., str], authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    """As the kubelet does it: the files are links into ..data, and ..data is a link that is replaced in one instant."""
    for name, signer in (("first", authority), ("second", stranger)):
        (tmp_path / name).mkdir()
        replace(Pair(tmp_path / name / "tls.crt", tmp_path / name / "tls.key"), signer.pair(name))
    (tmp_path / "..data").symlink_to("first")
    mounted = Pair(tmp_path / "tls.crt", tmp_path / "tls.key")
    mounted.certificate.symlink_to("..data/tls.crt")
    mounted.key.symlink_to("..data/tls.key")
    address = serve(mounted)
    assert reached(address, authority)
    (tmp_path / "..next").symlink_to("second")
    os.replace(tmp_path / "..next", tmp_path / "..data")
    assert reached(address, stranger)


def test_broken_files_change_nothing_and_are_logged_once(
    serve: Callable[..., str], authority: Authority, stranger: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    pair = authority.pair("server")
    address = serve(pair)
    caplog.set_level(logging.INFO, logger="ellq")
    os.replace(stranger.pair("other").key, pair.key)
    assert reached(address, authority)
    assert reached(address, authority)
    (refused,) = [record.msg for record in caplog.records if record.msg["event"] == "tls_files_refused"]
    assert refused["problem"] == f"tls_key_file: {pair.key}: not the key of {pair.certificate}"
    pair.certificate.unlink()
    assert reached(address, authority)
    replace(pair, stranger.pair("server"))
    assert reached(address, stranger)
    assert [record.msg["event"] for record in caplog.records if "tls" in record.msg["event"]] == [
        "tls_files_refused", "tls_files_refused", "tls_files_replaced",
    ]  # fmt: skip


def test_mutual_tls_lets_in_whom_the_authority_signed(
    serve: Callable[..., str], authority: Authority, stranger: Authority
) -> None:
    address = serve(authority.pair("server"), tls_client_ca_file=str(authority.file))
    assert reached(address, authority, authority.pair("client", "client.example"))
    assert not reached(address, authority)
    assert not reached(address, authority, stranger.pair("client", "client.example"))
    assert not reached(address, authority, authority.pair("late", "client.example", expired=True))


def test_the_authority_of_clients_can_be_replaced_too(
    serve: Callable[..., str], authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    clients = tmp_path / "clients.pem"
    clients.write_bytes(authority.file.read_bytes())
    address = serve(authority.pair("server"), tls_client_ca_file=str(clients))
    newcomer = stranger.pair("client", "client.example")
    assert not reached(address, authority, newcomer)
    clients.write_bytes(authority.file.read_bytes() + stranger.file.read_bytes())
    assert reached(address, authority, newcomer)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"tls_key_file": ""}, "tls_key_file: needed, for tls_certificate_file is set"),
        ({"tls_certificate_file": ""}, "tls_certificate_file: needed, for tls_key_file is set"),
        ({"tls_certificate_file": "", "tls_key_file": "", "tls_client_ca_file": "ca.pem"}, "tls_certificate_file: needed"),
        ({"tls_certificate_file": "absent.pem"}, "tls_certificate_file: absent.pem: No such file"),
        ({"tls_key_file": "."}, "tls_key_file: .: Is a directory"),
        ({"tls_certificate_file": "server.key"}, "tls_certificate_file: server.key: no certificate in PEM form"),
        ({"tls_client_ca_file": "binary"}, "tls_client_ca_file: binary: no certificate in PEM form"),
        ({"tls_key_file": "server.pem"}, "tls_key_file: server.pem: no private key in PEM form"),
        ({"tls_key_file": "locked.key"}, "tls_key_file: locked.key: no private key in PEM form without a password"),
        ({"tls_key_file": "other.key"}, "tls_key_file: other.key: not the key of server.pem"),
    ],
)
def test_what_cannot_be_used_is_named_at_start(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("server", "other"):
        authority.pair(name)
    Path("binary").write_bytes(bytes(range(256)))
    Path("locked.key").write_bytes(locked(Path("server.key").read_bytes()))
    right = {"tls_certificate_file": "server.pem", "tls_key_file": "server.key"}
    assert credentials_of(Settings.model_construct(**right)) is not None
    with pytest.raises(UnusableCertificate) as caught:
        credentials_of(Settings.model_construct(**right | wrong))
    assert str(caught.value).startswith(says)


def locked(key: bytes) -> bytes:
    """Return the key behind a password."""
    read = form.load_pem_private_key(key, None)
    secret = form.BestAvailableEncryption(b"secret")
    return read.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, secret)


def test_an_operator_reads_one_line_and_the_exit_code(tmp_path: Path) -> None:
    missing = tmp_path / "absent.pem"
    command = [sys.executable, "-m", "ellq_server", "--tls-certificate-file", str(missing), "--tls-key-file", str(missing)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr == f"ellq serve: tls_certificate_file: {missing}: No such file or directory\n"


def test_health_answers_in_plaintext_at_an_address_of_its_own(serve: Callable[..., str], authority: Authority) -> None:
    health = f"127.0.0.1:{free_port()}"
    address = serve(authority.pair("server"), health_listen=health)
    assert probe(health, wait_seconds=0)
    assert not probe(address, wait_seconds=0)
    with grpc.insecure_channel(health) as road:
        with pytest.raises(grpc.RpcError) as caught:
            pb_grpc.CompressionServiceStub(road).GetCapabilities(pb.GetCapabilitiesRequest(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with channel(address, authority) as road:
        assert health_pb2_grpc.HealthStub(road).Check(health_pb2.HealthCheckRequest()).status == SERVING


def test_a_drain_is_announced_there_too_and_the_probe_finds_it() -> None:
    health = f"127.0.0.1:{free_port()}"
    with Process("--health-listen", health, "--drain-delay-seconds", "2") as process:
        found = subprocess.run(
            [sys.executable, "-m", "ellq_server.probe"],
            env=os.environ | {"ELLQ_HEALTH_LISTEN": health},
            timeout=30,
            check=False,
        )
        assert found.returncode == 0
        with grpc.insecure_channel(health) as road:
            check = health_pb2_grpc.HealthStub(road).Check
            process.process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 1.5
            while check(health_pb2.HealthCheckRequest()).status == SERVING and time.monotonic() < deadline:
                time.sleep(0.01)
            assert check(health_pb2.HealthCheckRequest()).status == NOT_SERVING
        assert process.process.wait(timeout=20) == 0


def test_a_taken_health_address_is_said_plainly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "ellq_server", "--listen", f"unix:{tmp_path}/s", "--health-listen", place]
        ended = subprocess.run([*command, "--metrics-port", "0"], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 5
    assert f"cannot listen on {place}" in ended.stderr
