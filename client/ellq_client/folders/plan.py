"""What a command would do to a folder, as plain JSON: the same plan means the same bytes."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, cast

from ellq_client.folders.folder import Folder, Shard
from ellq_client.plain import to_plain
from ellq_client.requests import Request

SCHEMA = "ellq.folder-plan/1"


def plan_of(folder: Folder, request: Request) -> dict[str, Any]:
    """Return the plan. Weights are told apart by size and time of their file and by their header, not by their bytes.

    Errors: TypeError for a number that JSON does not know, before anything is written.
    """
    plan = {
        "schema": SCHEMA,
        "request": to_plain(request),
        "shards": [_fingerprint(shard) for shard in folder.shards],
        "index": None if folder.index is None else sha256(folder.index.text).hexdigest(),
    }
    return json.loads(json.dumps(plan))


def fingerprint_of(plan: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a plan, in hexadecimal."""
    return sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def read_plan(text: bytes) -> dict[str, Any]:
    """Return a plan that was written down; of one of another version no more than that can be said. Errors: ValueError."""
    try:
        plan: Any = json.loads(text)
    except RecursionError as error:
        raise ValueError(str(error)) from error
    if not isinstance(plan, dict):
        raise ValueError("it is not an object")
    told = cast("dict[str, Any]", plan)
    if told.get("schema") == SCHEMA and not _has_fields(told):
        raise ValueError("its fields are not those of a plan")
    return told


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return, in words, what two plans differ in."""
    if old.get("schema") != SCHEMA:
        return ["it was begun by another version of ellq"]
    before = {shard["name"]: shard for shard in old["shards"]}
    now = {shard["name"]: shard for shard in new["shards"]}
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    told = [f"it was begun with {option}" for option in other_options(old["request"], new["request"])]
    told += [f"{name} of the source is not what it was then" for name in names]
    return told + (["the index of the source is not what it was then"] if old["index"] != new["index"] else [])


def other_options(asked: Mapping[str, Any], asks: Mapping[str, Any]) -> list[str]:
    """Return, in words, what was asked otherwise."""
    return [f"another {name}: {asked.get(name)}, now {asks[name]}" for name in asks if asked.get(name) != asks[name]]


def _has_fields(plan: Mapping[str, Any]) -> bool:
    shards: Any = plan.get("shards")
    return (
        isinstance(plan.get("request"), dict)
        and isinstance(shards, list)
        and all(isinstance(shard, dict) and _is_named(cast("dict[str, Any]", shard)) for shard in cast("list[Any]", shards))
        and isinstance(plan.get("index", 0), str | None)
    )


def _is_named(shard: Mapping[str, Any]) -> bool:
    return isinstance(shard.get("name"), str)


def _fingerprint(shard: Shard) -> dict[str, Any]:
    return {
        "name": shard.name,
        "size_bytes": shard.source.size_bytes,
        "modified_ns": shard.source.modified_ns,
        "header_sha256": shard.source.header.sha256,
    }
