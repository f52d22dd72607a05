"""How many calls of one compression are under way at a time."""

import socket

import pytest

from ellq_client.channels import STREAMS_MAX, replicas_of, server_address, streams_to

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(
    ("target", "replicas"),
    [
        ("ipv4:10.0.0.1:50051", 1),
        ("ipv4:10.0.0.1:50051,10.0.0.2:50051,10.0.0.3:50051", 3),
        ("unix:/run/ellq,socket", 1),
        ("127.0.0.1:50051", 1),
        ("[::1]:50051", 1),
        ("dns:///name.invalid:50051", 1),
        ("dns:///" + "x" * 300 + ":1", 1),
    ],
)
def test_an_address_tells_how_many_replicas_there_are(target: str, replicas: int) -> None:
    assert replicas_of(server_address(target)) == replicas


@pytest.mark.parametrize("target", ["ellq:50051", "dns:///ellq:50051", "dns:ellq:50051", "dns://1.1.1.1/ellq", "dns:///ellq"])
@pytest.mark.parametrize(
    ("found", "replicas"),
    [
        ([(V4, "10.0.0.1"), (V4, "10.0.0.2"), (V4, "10.0.0.2")], 2),
        ([(V4, "10.0.0.1"), (V6, "fd00::1")], 1),
        ([(V4, "10.0.0.1"), (V4, "10.0.0.2"), (V6, "fd00::1"), (V6, "fd00::2"), (V6, "fd00::3")], 3),
        ([(V4, f"10.0.0.{place}") for place in range(40)], 40),
    ],
)
def test_a_name_has_as_many_as_addresses_of_a_family(
    monkeypatch, target: str, found: list[tuple[int, str]], replicas: int
) -> None:
    def answers(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        assert host == "ellq"
        return [(family, socket.SOCK_STREAM, 6, "", (address, 0)) for family, address in found]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    assert replicas_of(server_address(target)) == replicas
    assert streams_to(server_address(target), None)() == min(replicas, STREAMS_MAX)


def test_the_server_in_this_process_gets_one_and_whoever_asks_gets_that_many(monkeypatch) -> None:
    monkeypatch.delenv("ELLQ_SERVER", raising=False)
    assert streams_to(server_address(None), None)() == 1
    assert streams_to(server_address("dns:///name.invalid:1"), 20)() == 20
    with pytest.raises(ValueError, match="at least 1, got 0"):
        streams_to(server_address(None), 0)
