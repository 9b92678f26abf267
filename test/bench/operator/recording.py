"""Records what the operator writes for one store, so that the reference can write the same for each."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

from bench.operator import audit, contenders, scenarios
from support.controlplane import run_control_plane

from swarm_operator.controllers.common import labels

STORE = "bench-rec0"
"""As long as the names of the stores that are measured."""


async def record(binaries: Path, path: Path) -> list[str]:
    """Run the operator on one store and save its writes in `path`, as go/recording.go reads them.

    Returns:
        What it wrote, in order, for people.
    """
    with tempfile.TemporaryDirectory() as folder:
        with run_control_plane(binaries, Path(folder), *audit.apiserver_flags(Path(folder))) as plane:
            log = audit.AuditLog(plane.folder / "audit.log")
            async with scenarios.admin(plane) as client:
                await scenarios.make_namespace(client, audit.RECORDED)
                with contenders.ours(plane, workers=1):
                    store = await scenarios.make_store(client, audit.RECORDED, STORE)
                    entries = await scenarios.until_quiet(log, seconds=3.0)
        recording = _recording(entries, store["metadata"]["uid"])
    await asyncio.to_thread(path.write_text, json.dumps(recording, indent=1))
    return [f"{child['kind']} {child['name']}" for child in recording["children"]]


def _recording(entries: list[dict], uid: str) -> dict:
    children, finalizers, events, status = [], [], [], None
    for entry in entries:
        if entry["verb"] not in audit.WRITES or "requestObject" not in entry:
            continue
        if entry["responseStatus"]["code"] >= 300:
            continue
        body, target = entry["requestObject"], entry["objectRef"]
        if "apiVersion" not in body:  # a merge patch: the operator writes none but of its finalizers
            finalizers = body["metadata"]["finalizers"]
            continue
        template = {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "body": _blank(json.dumps(body, separators=(",", ":")), uid),
        }
        if target["resource"] == "events":
            note = _blank(body["note"], uid)
            made = note.removeprefix("created ") if body["reason"] == "Created" else ""
            fields = {name: body[name] for name in ("type", "reason", "action")}
            events.append({**fields, "note": note, "child": made})
        elif target.get("subresource") == "status":
            status = template
        else:
            digest = body["metadata"].get("annotations", {}).get(labels.APPLIED, "")
            children.append({**template, "name": _blank(body["metadata"]["name"], uid), "digest": digest})
    if status is None:
        raise RuntimeError("the operator wrote no status")
    return {"finalizers": finalizers, "children": children, "status": status, "events": events}


def _blank(text: str, uid: str) -> str:
    return text.replace(uid, "{uid}").replace(STORE, "{name}").replace(audit.RECORDED, "{namespace}")
