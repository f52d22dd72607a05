"""hf:// against a stand-in for a hub: no hub can be reached from tests.

It speaks as much of the hub's resolve addresses as is needed here: a commit and a size in the headers of the first answer, then
the bytes in ranges, from the hub itself or from a host that it sends readers on to.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from huggingface_hub import constants

from tests.server.references.calls import ByReference
from tests.server.references.stores import Request, http_server
from tests.server.wire import Caller

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SOURCE = "hf://org/model/sub/model.safetensors"
PATHS = {revision: f"/org/model/resolve/{revision}/sub/model.safetensors" for revision in ("main", "v1.0", COMMIT)}


class Hub:
    """The stand-in, and what was asked of it."""

    def __init__(self, content: bytes, moved_to: str = "") -> None:
        self.content, self.moved_to = content, moved_to
        self.asked: list[tuple[str, str]] = []
        self.tokens: list[str | None] = []

    def __call__(self, request: Request) -> None:
        self.asked.append((request.command, request.path))
        self.tokens.append(request.headers["authorization"])
        if request.path not in PATHS.values():
            request.answer(404)
        elif self.moved_to:
            told = {"x-repo-commit": COMMIT, "x-linked-size": len(self.content), "location": f"{self.moved_to}/blob?signed=1"}
            request.answer(302, **told)
        elif request.command == "HEAD":
            request.serve_head(self.content, x_repo_commit=COMMIT)
        else:
            request.serve_range(self.content)


@pytest.fixture
def hub(serve: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ByReference]]:
    """Start a hub, and a server whose operator names it."""
    with ExitStack() as stack:

        def start(behaviour: Callable[[Request], None], **settings: object) -> ByReference:
            address = stack.enter_context(http_server(behaviour))
            monkeypatch.setattr(constants, "ENDPOINT", address)
            template = address + "/{repo_id}/resolve/{revision}/{filename}"
            monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
            monkeypatch.setenv("HF_TOKEN", "hf_secret")
            return ByReference(serve(**{"source_prefixes": "hf://org/model", "store_seconds": 5.0, **settings}))

        yield start


def test_bytes_of_the_hub_itself_at_one_commit(hub, stream) -> None:
    behaviour = Hub(stream)
    server = hub(behaviour)
    assert server.compress(SOURCE).data == server.caller.compress(stream).data
    assert behaviour.asked[0] == ("HEAD", PATHS["main"])
    assert set(behaviour.asked[1:]) == {("GET", PATHS[COMMIT])}
    assert set(behaviour.tokens) == {"Bearer hf_secret"}


def test_a_revision_is_asked_for(hub, stream) -> None:
    behaviour = Hub(stream)
    hub(behaviour).analyze("hf://org/model@v1.0/sub/model.safetensors")
    assert behaviour.asked[0] == ("HEAD", PATHS["v1.0"])


def test_bytes_of_a_host_that_the_operator_names_and_no_token_for_it(hub, stream) -> None:
    elsewhere = Hub(stream)
    tokens: list[str | None] = []

    def holder(request: Request) -> None:
        tokens.append(request.headers["authorization"])
        request.serve_range(stream)

    with http_server(holder, host="127.0.0.2") as address:
        elsewhere.moved_to = address
        server = hub(elsewhere, hub_hosts="127.0.0.2")
        assert server.compress(SOURCE).data == server.caller.compress(stream).data
    assert set(tokens) == {None}


@pytest.mark.parametrize("second", [False, True])
def test_a_redirect_to_a_host_off_the_list_is_not_followed(hub, stream, second: bool) -> None:
    reached: list[str] = []

    def evil(request: Request) -> None:
        reached.append(request.path)
        request.serve_range(stream)

    with http_server(evil, host="127.0.0.3") as off_the_list, ExitStack() as stack:
        first = off_the_list
        if second:  # a host on the list that sends us on to one that is not
            on_the_list = http_server(lambda request: request.answer(302, location=f"{off_the_list}/blob"), host="127.0.0.2")
            first = stack.enter_context(on_the_list)
        refusal = hub(Hub(stream, moved_to=first), hub_hosts="127.0.0.2").refused(SOURCE)
    assert refusal.reason == "URI_NOT_ALLOWED"
    assert reached == []


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/latest",
        "http://metadata.google.internal/",
        "file:///etc/passwd",
        "http://huggingface.co.evil.example/",
        "http://evilhuggingface.co/",
        "http://huggingface.co@169.254.169.254/",
    ],
)
def test_a_redirect_to_a_metadata_service_or_a_lookalike_is_not_followed(hub, stream, target: str) -> None:
    refusal = hub(Hub(stream, moved_to=target)).refused(SOURCE)
    assert refusal.reason == "URI_NOT_ALLOWED"
    assert "signed=1" not in refusal.message


def test_redirects_without_end(hub, stream) -> None:
    refusal = hub(lambda request: request.answer(307, location=request.path)).refused(SOURCE)
    assert refusal.reason == "STORE_UNAVAILABLE"


@pytest.mark.parametrize(("status", "reason"), [(401, "STORE_DENIED"), (404, "OBJECT_NOT_FOUND"), (502, "STORE_UNAVAILABLE")])
def test_what_a_hub_may_answer(hub, status: int, reason: str) -> None:
    refusal = hub(lambda request: request.answer(status)).refused(SOURCE)
    assert refusal.reason == reason
    assert "hf_secret" not in refusal.message


@pytest.mark.parametrize("told", [{"x_repo_commit": ""}, {"x_repo_commit": "../../other"}, {"x_linked_size": "-1"}])
def test_a_hub_that_names_no_commit_or_no_size(hub, stream, told: dict[str, str]) -> None:
    headers = {"x_repo_commit": COMMIT} | told
    assert hub(lambda request: request.serve_head(stream, **headers)).refused(SOURCE).reason == "STORE_UNAVAILABLE"


def test_more_bytes_than_asked_for_are_not_awaited(hub, stream) -> None:
    def endless(request: Request) -> None:
        if request.command == "HEAD":
            return request.serve_head(stream, x_repo_commit=COMMIT)
        begin, end = request.range
        request.send_response(206)
        request.send_header("content-range", f"bytes {begin}-{end - 1}/{len(stream)}")
        request.end_headers()  # no length: the body ends when the connection does, which is never
        while True:
            request.wfile.write(bytes(1 << 20))

    refusal = hub(endless).refused(SOURCE)
    assert refusal.reason == "STORE_UNAVAILABLE"
    assert "sent" in refusal.message


def test_a_hub_that_ignores_ranges_is_refused(hub, stream) -> None:
    def behave(request: Request) -> None:
        if request.command == "HEAD":
            request.serve_head(stream, x_repo_commit=COMMIT)
        else:
            request.answer(200, stream)

    assert hub(behave).refused(SOURCE).reason == "OBJECT_CHANGED"
