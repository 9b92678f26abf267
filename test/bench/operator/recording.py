"""Records what the operator writes for one object, so that the reference can write the same for each."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.operator import audit, contenders, scenarios
from bench.operator.subjects import Subject, get_ready
from support.controlplane import run_control_plane

from swarm_operator.controllers.common import kinds, labels
from swarm_operator.runtime.resource import Resource

NAME = "bench-rec0"
"""As long as the names of the objects that are measured."""


async def record(binaries: Path, path: Path, subject: Subject) -> list[str]:
    """Run the operator on one object and save its writes in `path`, as go/recording.go reads them.

    Returns:
        What it wrote, in order, for people.
    """
    stages, uids = [], {}
    with (
        tempfile.TemporaryDirectory() as folder,
        run_control_plane(binaries, Path(folder), *audit.apiserver_flags(Path(folder))) as plane,
    ):
        log = audit.AuditLog(plane.folder / "audit.log")
        async with scenarios.admin(plane) as client:
            await scenarios.make_namespace(client, audit.RECORDED)
            with contenders.ours(plane, workers=1):
                await subject.make(client, audit.RECORDED, NAME)
                for stage in subject.stages:
                    if stage.workload:
                        workload = stage.workload.replace("{name}", NAME)
                        await get_ready(client, await client.get(kinds.STATEFUL_SET, audit.RECORDED, workload))
                    stages.append(await scenarios.until_quiet(log, seconds=3.0))
            for resource in subject.reconciled:
                (obj,), _ = await client.list(resource, namespace=audit.RECORDED)
                uids[resource] = obj["metadata"]["uid"]
    objects = [_recording(subject, resource, stages, uid) for resource, uid in uids.items()]
    await asyncio.to_thread(path.write_text, json.dumps({"objects": objects}, indent=1))
    written = [
        (child["kind"], child["name"]) for obj in objects for stage in obj["stages"] for child in stage["children"]
    ]
    if len(written) != len(set(written)):
        raise RuntimeError(f"the operator wrote an object twice: {written}")
    return [f"{kind} {name}" for kind, name in written]


def _recording(subject: Subject, resource: Resource, stages: list[list[dict]], uid: str) -> dict[str, Any]:
    """Return what was written for the object of one kind."""
    finalizers: list[str] = []
    recorded = []
    for stage, entries in zip(subject.stages, stages, strict=True):
        found: dict[str, list[Any]] = defaultdict(list)
        for entry in entries:
            if entry["verb"] not in audit.WRITES or "requestObject" not in entry:
                continue
            if entry["responseStatus"]["code"] >= 300:
                continue
            if "apiVersion" not in entry["requestObject"]:  # a merge patch: only of the object's finalizers
                if entry["objectRef"]["resource"] == resource.plural:
                    finalizers = entry["requestObject"]["metadata"]["finalizers"]
            elif noted := _noted(entry, resource, uid):
                kind, document = noted
                found[kind].append(document)
        gates = [{"kind": gate.kind, "name": name} for kind, gate, name in stage.gates if kind == resource]
        parts = {kind: found[kind] for kind in ("children", "statuses", "events")}
        recorded.append({"after": gates[0] if gates else None, **parts})
    recorded = [stage for stage in recorded if any(stage[kind] for kind in ("children", "statuses", "events"))]
    if not recorded or not recorded[0]["statuses"]:
        raise RuntimeError("the operator wrote no status")
    its = {"apiVersion": resource.api_version, "kind": resource.kind}
    return {**its, "finalizers": finalizers, "stages": recorded}


def _noted(entry: dict[str, Any], resource: Resource, uid: str) -> tuple[str, dict[str, Any]] | None:
    """Return what a write is to the object of one kind, and its template; None if it is another object's."""
    body, target = entry["requestObject"], entry["objectRef"]
    template = {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "body": _blank(json.dumps(body, separators=(",", ":")), uid),
    }
    if target["resource"] == "events":
        if body["regarding"]["kind"] != resource.kind:
            return None
        note = _blank(body["note"], uid)
        made = note.removeprefix("created ") if body["reason"] == "Created" else ""
        return "events", {**{name: body[name] for name in ("type", "reason", "action")}, "note": note, "child": made}
    if target.get("subresource") == "status":
        return ("statuses", template) if body["kind"] == resource.kind else None
    owners = [owner["uid"] for owner in body["metadata"].get("ownerReferences") or ()]
    # The claim of a store has no owner, so that it may outlive its store.
    if uid not in owners and (owners or resource != kinds.SWARM_MEMORY_STORE):
        return None
    digest = body["metadata"].get("annotations", {}).get(labels.APPLIED, "")
    return "children", {**template, "name": _blank(body["metadata"]["name"], uid), "digest": digest}


def _blank(text: str, uid: str) -> str:
    return text.replace(uid, "{uid}").replace(NAME, "{name}").replace(audit.RECORDED, "{namespace}")
