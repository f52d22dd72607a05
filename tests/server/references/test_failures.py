"""Stores that fail, lie, stall or change their minds: every one becomes a refusal that says so, and nothing else."""

import asyncio
import time
from collections.abc import Callable

import grpc
import pytest
from obstore import exceptions

from ellq_server.references.allowed import READABLE, allowed_by
from ellq_server.references.failures import told
from ellq_server.refusals import EllqError
from tests.server.references.calls import ByReference
from tests.server.references.conftest import BUCKET
from tests.server.references.stores import Request, http_server
from tests.server.wire import Caller, Refusal

SOURCE = f"s3://{BUCKET}/in.safetensors"


@pytest.fixture
def broken(serve: Callable[..., Caller], environment, stream: bytes):
    """Start a server over a store with some behaviour, and return what it makes of a call."""

    def refusal_of(behaviour: Callable[[Request], None], output: str = "", **options: object) -> Refusal:
        with http_server(behaviour) as address, pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", address)
            prefix = f"s3://{BUCKET}"
            server = ByReference(serve(source_prefixes=prefix, output_prefixes=prefix, store_seconds=1.0, **options))
            refusal = server.refused("", output, data=stream) if output else server.refused(SOURCE)
            assert "a-secret-key" not in refusal.message
            assert "127.0.0.1" not in refusal.message  # how the store is reached is no caller's business
            return refusal

    return refusal_of


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (403, "STORE_DENIED", grpc.StatusCode.INVALID_ARGUMENT),
        (401, "STORE_DENIED", grpc.StatusCode.INVALID_ARGUMENT),
        (404, "OBJECT_NOT_FOUND", grpc.StatusCode.INVALID_ARGUMENT),
        (500, "STORE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE),
        (503, "STORE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE),
    ],
)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_each_answer_of_a_store_is_one_refusal(broken, stream, method: str, status: int, reason: str, code) -> None:
    def behave(request: Request) -> None:
        if request.command == method:
            request.answer(status, b"<Error><Message>account 123456 of the operator</Message></Error>")
        else:
            request.serve_head(stream)

    refusal = broken(behave)
    assert (refusal.reason, refusal.code) == (reason, code)
    assert SOURCE in refusal.message
    assert "123456" not in refusal.message
    assert (refusal.retry_after is not None) == (code is grpc.StatusCode.UNAVAILABLE)


def test_a_single_500_is_tried_again(serve, environment, stream) -> None:
    failed: set[str] = set()

    def behave(request: Request) -> None:
        asked = request.headers["range"] or "head"
        if asked not in failed:
            failed.add(asked)
            request.answer(500)
        elif request.command == "HEAD":
            request.serve_head(stream)
        else:
            request.serve_range(stream)

    with http_server(behave) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        server = ByReference(serve(source_prefixes=f"s3://{BUCKET}"))
        assert server.compress(SOURCE).data == server.caller.compress(stream).data
    assert len(failed) == 1 + -(-len(stream) // (2 << 20))


def test_short_ranges_are_never_taken_for_whole_ones(broken, stream) -> None:
    def behave(request: Request) -> None:
        if request.command == "HEAD":
            request.serve_head(stream)
        else:
            begin, end = request.range
            request.serve_range(stream[: end - 100], content_range=f"bytes {begin}-{end - 101}/{len(stream)}")

    assert broken(behave).reason == "STORE_UNAVAILABLE"


def test_a_body_cut_off_under_way_is_no_range(broken, stream) -> None:
    def behave(request: Request) -> None:
        if request.command == "HEAD":
            return request.serve_head(stream)
        begin, end = request.range
        whole = {"content_length": end - begin, "content_range": f"bytes {begin}-{end - 1}/{len(stream)}"}
        request.serve_range(stream[: end - 100], **whole)
        request.close_connection = True
        return None

    assert broken(behave).reason == "STORE_UNAVAILABLE"


@pytest.mark.parametrize("length", ["-5", "garbage", "99999999999999999999999"])
def test_garbage_for_a_length(broken, stream, length: str) -> None:
    assert broken(lambda request: request.serve_head(stream, content_length=length)).reason == "STORE_UNAVAILABLE"


@pytest.mark.parametrize("length", [10**12, 10])
def test_a_length_that_is_not_the_checkpoints_is_found_out_by_its_header(broken, stream, length: int) -> None:
    def behave(request: Request) -> None:
        if request.command == "HEAD":
            request.serve_head(stream, content_length=length)
        else:
            begin, end = request.range
            request.serve_range(stream, content_range=f"bytes {begin}-{end - 1}/{length}")

    assert broken(behave).reason in ("STORE_UNAVAILABLE", "TRUNCATED_STREAM", "TRAILING_BYTES")


def test_an_object_without_a_version_is_not_read(broken, stream) -> None:
    told = {"content_length": len(stream), "last_modified": "Mon, 23 Nov 2026 00:00:00 GMT"}
    refusal = broken(lambda request: request.answer(200, **told))
    assert refusal.reason == "STORE_UNAVAILABLE"
    assert "names no version" in refusal.message


def test_another_version_under_way_is_refused_even_by_a_store_that_ignores_conditions(broken, stream) -> None:
    def behave(request: Request) -> None:
        if request.command == "HEAD":
            request.serve_head(stream)
        else:
            request.serve_range(stream, etag='"one"' if request.range[0] < 6 << 20 else '"two"')

    refusal = broken(behave)
    assert (refusal.reason, refusal.code) == ("OBJECT_CHANGED", grpc.StatusCode.INVALID_ARGUMENT)


def test_an_object_replaced_under_way_is_refused_by_an_honest_store(broken, stream) -> None:
    def behave(request: Request) -> None:
        if request.command == "HEAD":
            request.serve_head(stream)
        elif request.range[0] < 6 << 20:
            assert request.headers["if-match"] == '"one"'
            request.serve_range(stream)
        else:
            request.answer(412)

    assert broken(behave).reason == "OBJECT_CHANGED"


def test_a_store_that_sends_us_to_a_metadata_service_brings_nothing_back(broken) -> None:
    """obstore follows redirects of the store that the operator chose; what answers there is no store and tells nothing."""
    with http_server(lambda request: request.answer(200, b"role credentials"), host="127.0.0.3") as metadata:
        refusal = broken(lambda request: request.answer(307, location=f"{metadata}/latest/meta-data"))
    assert refusal.reason == "STORE_UNAVAILABLE"
    assert "credentials" not in refusal.message


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_store_that_stalls_ends_the_call(broken, stream, method: str) -> None:
    def behave(request: Request) -> None:
        if request.command == method:
            time.sleep(2)
        elif request.command == "HEAD":
            request.serve_head(stream)

    refusal = broken(behave, idle_seconds=0.5)  # less than the store may take: its own failure is told all the same
    assert (refusal.reason, refusal.code) == ("STORE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE)
    assert refusal.retry_after == 5.0


def test_nobody_listens(serve, environment) -> None:
    with http_server(lambda request: None) as address:
        pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        server = ByReference(serve(source_prefixes=f"s3://{BUCKET}", store_seconds=1.0))
        assert server.refused(SOURCE).reason == "STORE_UNAVAILABLE"


@pytest.mark.parametrize("failing", ["start", "part", "end"])
@pytest.mark.parametrize(("status", "reason"), [(403, "STORE_DENIED"), (503, "STORE_UNAVAILABLE")])
def test_an_upload_that_fails_is_refused_and_aborted(broken, failing: str, status: int, reason: str) -> None:
    asked: list[str] = []

    def behave(request: Request) -> None:
        request.rfile.read(int(request.headers["content-length"] or 0))
        step = {"PUT": "part", "DELETE": "abort", "POST": "start" if "uploads" in request.path else "end"}[request.command]
        asked.append(step)
        if step == failing:
            request.answer(status)
        elif step == "start":
            request.answer(200, b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        else:
            request.answer(200, etag='"part"')

    assert broken(behave, f"s3://{BUCKET}/out.safetensors").reason == reason
    assert ("abort" in asked) == (failing != "start")


def test_an_object_that_is_not_what_was_written_is_no_success(broken) -> None:
    def behave(request: Request) -> None:
        request.rfile.read(int(request.headers["content-length"] or 0))
        if request.command == "HEAD":
            request.serve_head(b"something else")
        elif request.command == "PUT":
            request.answer(200, etag='"part"')
        elif "uploads" in request.path:
            request.answer(200, b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        else:
            body = b'<CompleteMultipartUploadResult><ETag>"whole"</ETag></CompleteMultipartUploadResult>'
            request.answer(200, body)

    assert broken(behave, f"s3://{BUCKET}/out.safetensors").reason == "STORE_UNAVAILABLE"


REASONS = {
    "NotFoundError": "OBJECT_NOT_FOUND",
    "PreconditionError": "OBJECT_CHANGED",
    "AlreadyExistsError": "OUTPUT_EXISTS",
    "PermissionDeniedError": "STORE_DENIED",
    "UnauthenticatedError": "STORE_DENIED",
}


@pytest.mark.parametrize("name", exceptions.__all__)
def test_every_exception_of_obstore_is_one_refusal(name: str) -> None:
    """Also of a version to come, which may have others: of those, that the store failed."""
    admitted = allowed_by("ELLQ_SOURCE_PREFIXES", f"s3://{BUCKET}", READABLE).admit(SOURCE, field="options.source_uri")

    async def fail() -> None:
        async with told(admitted, "asked for it"):
            raise getattr(exceptions, name)("account 123456 of the operator")

    with pytest.raises(EllqError) as caught:
        asyncio.run(fail())
    assert caught.value.reason == REASONS.get(name, "STORE_UNAVAILABLE")
    assert "123456" not in str(caught.value)
