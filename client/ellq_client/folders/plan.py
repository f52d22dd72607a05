"""What a command would do to a folder, as plain JSON: the same plan means the same bytes."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from ellq_client.folders.folder import Folder, Shard
from ellq_client.plain import to_plain
from ellq_client.requests import Request
from ellq_client.results import header_digest

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


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return, in words, what two plans differ in."""
    if old.get("schema") != SCHEMA:
        return ["it was begun by another version of ellq"]
    asked, asks = old["request"], new["request"]
    options = [name for name in asks if asked.get(name) != asks[name]]
    before = {shard["name"]: shard for shard in old["shards"]}
    now = {shard["name"]: shard for shard in new["shards"]}
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    told = [f"it was begun with another {name}: {asked.get(name)}, now {asks[name]}" for name in options]
    told += [f"{name} of the source is not what it was then" for name in names]
    return told + (["the index of the source is not what it was then"] if old["index"] != new["index"] else [])


def _fingerprint(shard: Shard) -> dict[str, Any]:
    return {
        "name": shard.name,
        "size_bytes": shard.source.size_bytes,
        "modified_ns": shard.source.modified_ns,
        "header_sha256": header_digest(shard.header),
    }
