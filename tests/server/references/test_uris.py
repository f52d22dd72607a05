"""Which URIs are opened: a test for each way of smuggling another one past the prefixes. No store is needed to refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_server.references.allowed import READABLE, Allowed, UnusablePrefix, allowed_by
from ellq_server.references.uri import NotAReference, read_prefix, read_uri
from ellq_server.refusals import ReferenceRefused

OPEN = allowed_by(
    "ELLQ_SOURCE_PREFIXES", "s3://models/open, gs://models, az://models/a, hf://org/model, file:///models", READABLE
)


def refused(uri: str, allowed: Allowed = OPEN) -> ReferenceRefused:
    with pytest.raises(ReferenceRefused) as caught:
        allowed.admit(uri, field="options.source_uri")
    assert caught.value.field == "options.source_uri"
    return caught.value


@pytest.mark.parametrize(
    "uri",
    [
        "s3://models/open/m.safetensors",
        "s3://models/open/a/b/m-00001-of-00002.safetensors",
        "gs://models/m",
        "az://models/a/m",
        "hf://org/model/model.safetensors",
        "hf://org/model@main/model.safetensors",
        "hf://org/model@refs-pr-1/sub/model.safetensors",
        "file:///models/m.safetensors",
    ],
)
def test_what_lies_below_a_prefix_is_admitted_as_it_was_written(uri: str) -> None:
    assert str(OPEN.admit(uri, field="options.source_uri").reference) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "s3://models/open-secret/m",  # the prefix ends within a part
        "s3://models/ope",
        "s3://models/m",
        "s3://models-secret/open/m",  # within the bucket
        "s3://model/open/m",
        "gs://models.evil/m",
        "az://models/b/m",
        "hf://org/model-secret/m",
        "hf://org/other@model/m",
        "hf://organisation/model/m",
        "file:///models-secret/m",
        "file:///etc/passwd",
    ],
)
def test_a_prefix_ends_at_a_boundary(uri: str) -> None:
    assert refused(uri).reason == "URI_NOT_ALLOWED"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://models/open/../secret/m",  # traversal
        "s3://models/open/./m",
        "s3://models/open//m",
        "s3://models//open/m",
        "file:///models/../etc/passwd",
        "file:////models/m",
        "hf://org/model@../../other/m",
        "hf://org/model@a/../b",
        "s3://models/open/%2e%2e/secret/m",  # encodings
        "s3://models/open%2f..%2fsecret",
        "s3://models%2Fopen/m",
        "s3://models/open/m\0.safetensors",  # control characters
        "s3://models/open/m\n",
        "s3://models/open/m\r\nHost: evil",
        "s3://models/open/m\x7f",
        "s3://models/open/\u202em",  # characters that look like others
        "s3://models/open/m\u2215..",
        "s3://m\u043edels/open/m",
        "s3://MODELS/open/m",  # case
        "S3://models/open/m",
        "s3://models\\open/m",
        "s3://user@models/open/m",  # hosts
        "s3://user:word@models/open/m",
        "s3://models:9000/open/m",
        "s3://[fd00:ec2::254]/open/m",
        "s3://169.254.169.254/latest/meta-data",
        "s3://2852039166/latest",
        "gs://169.254.169.254/m",
        "file://localhost/models/m",
        "file://169.254.169.254/models/m",
        "s3://models/open/m?endpoint=http://169.254.169.254",  # settings
        "s3://models/open/m#part",
        "http://169.254.169.254/latest/meta-data",  # schemes
        "https://metadata.google.internal/computeMetadata/v1",
        "http+unix://models/m",
        "ftp://models/m",
        "s3:/models/open/m",
        "models/open/m",
        "//models/open/m",
        "s3://",
        "s3:///open/m",
        "s3://models/open/" + "m" * 1100,  # length
        "s3://models/open/",  # folders
        "s3://models",
        "s3://models/",
        "hf://org/model",
        "hf://org/model@main",
        "file:///",
    ],
)
def test_what_is_no_plain_uri_of_one_object_is_refused(uri: str) -> None:
    assert refused(uri).reason == "INVALID_URI"


@pytest.mark.parametrize(
    ("uri", "form"),
    [
        ("s3://models/open/", "s3://BUCKET/KEY"),
        ("s3://models/", "s3://BUCKET/KEY"),
        ("s3://models", "s3://BUCKET/KEY"),
        ("hf://org/model", "hf://OWNER/MODEL[@REVISION]/FILE"),
        ("hf://org/model/sub/", "hf://OWNER/MODEL[@REVISION]/FILE"),
        ("file:///models/", "file:///PATH"),
        ("file:///", "file:///PATH"),
    ],
)
def test_whoever_names_a_folder_is_told_what_to_do_instead(uri: str, form: str) -> None:
    told = str(refused(uri))
    assert f"'{uri}': it names a folder, no single object such as {form}; " in told
    assert "name the shards, each in a call of its own; where all of them decide together" in told


def test_metadata_services_have_no_uri_even_where_everything_seems_allowed() -> None:
    """The worst an operator can write still names a store, and a store has no such bucket."""
    for prefix in ("http://169.254.169.254", "s3://169.254.169.254", "s3://", "file:///", "https://metadata.google.internal"):
        with pytest.raises(UnusablePrefix, match="ELLQ_SOURCE_PREFIXES"):
            allowed_by("ELLQ_SOURCE_PREFIXES", prefix, READABLE)


@given(st.text(max_size=60), st.sampled_from(["s3://models/open/", "file:///models/", "hf://org/model/", "s3://", ""]))
def test_whatever_is_admitted_lies_below_and_has_one_spelling(text: str, start: str) -> None:
    try:
        admitted = OPEN.admit(start + text, field="options.source_uri")
    except ReferenceRefused:
        return
    assert str(admitted.reference) == start + text
    assert admitted.reference.is_below(admitted.prefix)
    assert not {"", ".", ".."} & set(admitted.reference.parts)
    assert (start + text).isascii()
    assert (start + text).isprintable()


@pytest.mark.parametrize(
    "uri",
    [
        "s3://key:pass-word@models/open/m",
        "s3://models/open/m?X-Amz-Signature=pass-word",
        "s3://AKIAX:pass-word/rXU@models/key",  # secrets of AWS hold slashes
        "s3://AKIAX:wJal/pass-word@models/key",
        "s3:/AKIAX:pass-word@models/key",
        "s3:AKIAX:pass-word@models/key",
        "AKIAX:pass-word@models/key",
        "s3://models/k%3FX-Amz-Signature=pass-word",
        "s3://AKIAX:se?pass-word@models/key",
        "s3://AKIAX:se#pass-word@models/key",
        "s3://AKIAX:pass-word/key",
        "s3://models/k@pass-word /key",
        "hf://org/model@pass-word @b/key",
        "hf://org/mo--del@pass-word/key",
    ],
)
def test_a_refusal_repeats_no_secret(uri: str) -> None:
    assert "pass-word" not in str(refused(uri))
    with pytest.raises(UnusablePrefix) as caught:
        allowed_by("ELLQ_SOURCE_PREFIXES", uri, READABLE)
    assert "pass-word" not in str(caught.value)


def test_a_refusal_says_what_is_wrong_with_a_bucket() -> None:
    told = str(refused("s3://b/k"))
    assert "'b', which stands between :// and the next /, is not allowed: a bucket has 3 to 63 lower-case letters" in told
    assert "begins with three slashes" in str(refused("file://models/m"))


@pytest.mark.parametrize(
    "prefix", ["s3://models/..", "hf://org/model@main", "s3://Models", "models", "s3://a b/c", "hf://org/%6d", "ftp://a/b"]
)
def test_a_setting_that_is_no_prefix_is_named(prefix: str) -> None:
    with pytest.raises(UnusablePrefix, match="ELLQ_SOURCE_PREFIXES"):
        allowed_by("ELLQ_SOURCE_PREFIXES", prefix, READABLE)


def test_a_hub_is_read_and_never_written() -> None:
    with pytest.raises(UnusablePrefix, match="among s3, gs, az, file"):
        allowed_by("ELLQ_OUTPUT_PREFIXES", "hf://org", ("s3", "gs", "az", "file"))


def test_a_trailing_slash_of_a_prefix_says_nothing() -> None:
    assert read_prefix("s3://models/open/") == read_prefix("s3://models/open")
    assert read_uri("s3://models/open", field="x").is_below(read_prefix("s3://models/"))
    with pytest.raises(NotAReference):
        read_prefix("s3://models/open//")
