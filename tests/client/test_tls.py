"""TLS of both clients and the command line, against real servers with real certificates."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.certificates import Authority, Pair
from tests.server.process import free_port

from ellq_client import AsyncClient, Client, RemoteError, Tls, TlsFailure, Unavailable
from ellq_client.channels import ServerAddress, server_address
from ellq_client.cli.wording import in_options
from ellq_client.handshakes import unreached
from ellq_client.tls import SWITCH, VARIABLES, chosen_tls
from ellq_server.embedded import EmbeddedServer
from ellq_server.settings import CLIENT_NAMES, Settings

COMMAND = [sys.executable, "-c", "from ellq_client.cli import main; main()"]


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ELLQ_SERVER", SWITCH, *VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)


@dataclass(frozen=True)
class Place:
    """Servers of several kinds by address, and what their clients need."""

    authority: Authority
    stranger: Authority
    client: Pair
    plain: str
    trusted: str
    elsewhere: str
    expired: str
    mutual: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    authority, stranger = (Authority(tmp_path_factory.mktemp(name)) for name in ("ours", "theirs"))
    with ExitStack() as stack:

        def start(pair: Pair | None = None, **settings: str) -> str:
            address = f"127.0.0.1:{free_port()}"
            files = {} if pair is None else {"tls_certificate_file": str(pair.certificate), "tls_key_file": str(pair.key)}
            quick = {"metrics_port": 0, "drain_seconds": 0.0, "drain_delay_seconds": 0.0}
            server = EmbeddedServer(Settings.model_construct(listen=address, **files, **settings, **quick))
            stack.callback(server.stop)
            return address

        pair = authority.pair("server")
        yield Place(
            authority,
            stranger,
            client=authority.pair("client", "client.example"),
            plain=start(),
            trusted=start(pair),
            elsewhere=start(authority.pair("elsewhere", "elsewhere.example")),
            expired=start(authority.pair("expired", expired=True)),
            mutual=start(pair, tls_client_ca_file=str(authority.file)),
        )


def refused(address: str, tls: Tls | None, *, attempts: int = 1) -> RemoteError:
    """Return what both clients raise, which is the same."""

    async def ask() -> None:
        async with AsyncClient(address, tls=tls, max_attempts=attempts) as client:
            await client.capabilities()

    with Client(address, tls=tls, max_attempts=attempts) as client, pytest.raises(RemoteError) as told:
        client.capabilities()
    with pytest.raises(RemoteError) as awaited:
        asyncio.run(ask())
    assert type(told.value) is type(awaited.value)
    assert str(told.value) == str(awaited.value)
    return told.value


def test_both_clients_come_by_tls(place: Place) -> None:
    async def ask() -> str:
        async with AsyncClient(place.trusted, tls=Tls(ca_file=place.authority.file)) as client:
            return (await client.capabilities()).version

    with Client(place.trusted, tls=Tls(ca_file=place.authority.file)) as client:
        assert client.capabilities().version == asyncio.run(ask())


def test_a_name_in_the_certificate_can_be_given(place: Place) -> None:
    with Client(place.elsewhere, tls=Tls(ca_file=place.authority.file, server_name="elsewhere.example")) as client:
        assert client.capabilities().version


def test_a_client_certificate_is_shown(place: Place) -> None:
    shown = {"certificate_file": place.client.certificate, "key_file": place.client.key}
    with Client(place.mutual, tls=Tls(ca_file=place.authority.file, **shown)) as client:
        assert client.capabilities().version


@pytest.mark.parametrize(
    ("server", "tls", "says"),
    [
        ("trusted", lambda place: Tls(ca_file=place.stranger.file), "nobody whom tls.ca_file trusts"),
        ("trusted", lambda place: Tls(), "nobody whom tls.ca_file trusts"),
        ("elsewhere", lambda place: Tls(ca_file=place.authority.file), "for another name"),
        ("expired", lambda place: Tls(ca_file=place.authority.file), "has expired"),
        ("plain", lambda place: Tls(ca_file=place.authority.file), "does not speak TLS"),
        ("trusted", lambda place: Tls(ca_file=place.client.key), "no TLS with the files of tls"),
        (
            "mutual",
            lambda place: Tls(
                ca_file=place.authority.file, certificate_file=place.client.certificate, key_file=place.stranger.pair("x").key
            ),
            "a key that is not that of the certificate",
        ),
        ("trusted", lambda place: Tls(ca_file="absent.pem"), "cannot read absent.pem for TLS: No such file"),
    ],
)
def test_what_cannot_succeed_is_said_at_once_and_never_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, server: str, tls: Callable[[Place], Tls], says: str
) -> None:
    def wait(*_: object) -> None:
        raise AssertionError("tried again")

    monkeypatch.setattr("time.sleep", wait)
    monkeypatch.setattr("ellq_client.aio.sleep", wait)
    failure = refused(getattr(place, server), tls(place), attempts=4)
    assert type(failure) is TlsFailure
    assert says in str(failure)


@pytest.mark.parametrize(
    ("server", "tls", "asks"),
    [
        ("trusted", lambda place: None, "does it want TLS? then give tls=Tls()"),
        ("mutual", lambda place: Tls(ca_file=place.authority.file), "does it want a certificate of the client?"),
        (
            "mutual",
            lambda place: Tls(
                ca_file=place.authority.file,
                certificate_file=place.stranger.pair("c").certificate,
                key_file=place.stranger.file.parent / "c.key",
            ),
            "does it trust tls.certificate_file",
        ),
    ],
)
def test_a_server_that_hangs_up_may_come_back_but_the_likely_cause_is_asked(
    place: Place, server: str, tls: Callable[[Place], Tls | None], asks: str
) -> None:
    failure = refused(getattr(place, server), tls(place))
    assert type(failure) is Unavailable
    assert asks in str(failure)


def test_nobody_at_the_address_is_no_question_of_tls(place: Place) -> None:
    address = f"127.0.0.1:{free_port()}"
    for tls in (None, Tls(ca_file=place.authority.file)):
        failure = refused(address, tls)
        assert type(failure) is Unavailable
        assert "?" not in str(failure)


def test_a_proxy_that_cannot_reach_its_own_backend_is_not_taken_for_the_road_to_it() -> None:
    words = "upstream connect error, TLS_error: CERTIFICATE_VERIFY_FAILED"
    assert unreached(words, ServerAddress("dns:///a:1", "target", Tls()))[0] is Unavailable


def test_half_a_pair_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tls\.certificate_file needs tls\.key_file"):
        Tls(certificate_file="client.pem")
    with pytest.raises(ValueError, match=r"tls\.key_file needs tls\.certificate_file"):
        Tls(key_file="client.key")


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_the_server_in_this_process_takes_no_tls(kind: type[Client] | type[AsyncClient]) -> None:
    with pytest.raises(ValueError, match="TLS leads to a server elsewhere"):
        kind(tls=Tls())


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, None),
        ({"ELLQ_TLS": "1"}, Tls()),
        ({"ELLQ_TLS": "Yes", "ELLQ_TLS_SERVER_NAME": "a.example"}, Tls(server_name="a.example")),
        ({"ELLQ_TLS_CA": "ca.pem"}, Tls(ca_file="ca.pem")),
        ({"ELLQ_TLS": "0", "ELLQ_TLS_CA": "ca.pem"}, None),
        ({"ELLQ_TLS": "", "ELLQ_TLS_CA": ""}, None),
        (
            {"ELLQ_TLS_CERTIFICATE": "c.pem", "ELLQ_TLS_KEY": "c.key"},
            Tls(certificate_file="c.pem", key_file="c.key"),
        ),
    ],
)
def test_the_environment_is_obeyed_where_a_server_is_named(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wanted: Tls | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert chosen_tls() == server_address("host:1").tls == wanted
    assert server_address(None).tls is None
    assert server_address("host:1", Tls(ca_file="own.pem")).tls == Tls(ca_file="own.pem")
    assert set(environment) <= CLIENT_NAMES


def test_what_is_given_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELLQ_TLS", "off")
    monkeypatch.setenv("ELLQ_TLS_CA", "env.pem")
    assert chosen_tls(switch=True) == Tls(ca_file="env.pem")
    assert chosen_tls(ca_file="own.pem") == Tls(ca_file="own.pem")


def test_an_unknown_word_for_the_switch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELLQ_TLS", "maybe")
    with pytest.raises(ValueError, match="ELLQ_TLS is 'maybe'; known: 1, true, "):
        Client("host:1")


def ellq(*words: str, **environment: str) -> tuple[int, str, str]:
    """Run the command in a process of its own, because gRPC prints past Python."""
    ended = subprocess.run([*COMMAND, *words], env=os.environ | environment, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout, ended.stderr


def test_the_command_line_comes_by_tls_by_options_and_by_environment(place: Place) -> None:
    ours = str(place.authority.file)
    certificate, key = str(place.client.certificate), str(place.client.key)
    assert ellq("capabilities", "--server", place.trusted, "--tls", "--tls-ca", ours)[0] == 0
    shown = ["--tls-certificate", certificate, "--tls-key", key]
    assert ellq("capabilities", *shown, ELLQ_SERVER=place.mutual, ELLQ_TLS_CA=ours)[0] == 0
    named = {"ELLQ_TLS_SERVER_NAME": "elsewhere.example", "ELLQ_TLS_CA": ours}
    assert ellq("capabilities", "--server", place.elsewhere, **named)[0] == 0


def test_the_command_line_says_it_in_one_line_and_in_options(place: Place, tmp_path: Path) -> None:
    code, out, err = ellq("capabilities", "--server", place.trusted, "--tls-ca", str(place.stranger.file))
    assert (code, out, len(err.splitlines())) == (3, "", 1)
    assert "signed by nobody whom --tls-ca trusts" in err
    code, _, err = ellq("capabilities", "--server", place.trusted, "--tls-key", str(tmp_path / "k"))
    assert code == 2
    assert "--tls-key needs --tls-certificate" in " ".join(err.split())
    code, _, err = ellq("capabilities", "--tls")
    assert code == 2
    assert "TLS leads to a server elsewhere" in err


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("does it want TLS? then give tls=Tls()", "does it want TLS? then give --tls"),
        ("give it as tls.server_name", "give it as --tls-server-name"),
        ("leave out tls (and ELLQ_TLS)", "leave out --tls (and ELLQ_TLS)"),
        (
            "no TLS with the files of tls: not PEM",
            "no TLS with the files of --tls-ca, --tls-certificate and --tls-key: not PEM",
        ),
    ],
)
def test_fields_become_options_on_the_command_line(message: str, told: str) -> None:
    assert in_options(message) == told
