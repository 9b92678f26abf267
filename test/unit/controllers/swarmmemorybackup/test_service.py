"""HttpBackupService against a server that answers as the contract of /admin/backups says."""

import pytest
from aiohttp import web

from swarm_operator.controllers.common.conditions import reason_of
from swarm_operator.controllers.swarmmemorybackup.service import HttpBackupService, Service
from swarm_operator.runtime.resource import Key

SERVICE = Service(Key("ns", "bees"), "admin")


def document(phase, **fields):
    members = ("started_at", "completed_at", "verified_at", "location", "size", "entries", "sha256", "schema_version")
    known = dict.fromkeys((*members, "feed_position", "swarm_id", "problem", "progress"))
    return {"name": "b1", "phase": phase, "reason": "Requested", **known, **fields}


@pytest.fixture
async def server():
    """Answers what a test tells it to, by method; notes what it is asked."""
    answers, asked = {}, []

    async def handle(request):
        asked.append((request.method, request.path, request.headers["Authorization"], await request.text()))
        status, body = answers[request.method]
        kind = "application/json" if status < 400 else "application/problem+json"
        return web.Response(status=204) if status == 204 else web.json_response(body, status=status, content_type=kind)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield HttpBackupService(f"http://127.0.0.1:{runner.addresses[0][1]}"), answers, asked
    await runner.cleanup()


MISSING = (404, {"type": "urn:swarm-memory:backup-not-found", "title": "not found", "status": 404})
RUNNING = (202, document("Running"))


@pytest.mark.parametrize("asked_before", [False, True])
async def test_a_backup_that_is_not_known_is_started(server, asked_before):
    service, answers, asked = server
    answers |= {"GET": MISSING, "PUT": RUNNING}
    answer = await service.advance(SERVICE, "b1", "Scheduled", asked=asked_before)
    assert answer.state.phase == "Running"
    assert asked == [
        ("GET", "/admin/backups/b1", "Bearer admin", ""),
        ("PUT", "/admin/backups/b1", "Bearer admin", '{"reason":"Scheduled"}'),
    ]


INTERRUPTED = document("Failed", problem={"code": "interrupted", "detail": "interrupted; ask again"})
FULL = document("Failed", problem={"code": "disk-full", "detail": "no room"})


@pytest.mark.parametrize(
    ("found", "asked_before", "starts"),
    [
        (document("Running"), True, False),
        (document("Completed"), False, False),
        (document("Incomplete"), True, True),
        (INTERRUPTED, True, True),
        (FULL, True, False),
        (FULL, False, True),
    ],
)
async def test_what_was_interrupted_is_asked_for_again_and_what_failed_is_not(server, found, asked_before, starts):
    service, answers, asked = server
    answers |= {"GET": (200, found), "PUT": RUNNING}
    answer = await service.advance(SERVICE, "b1", "Requested", asked=asked_before)
    assert [method for method, *_ in asked] == (["GET", "PUT"] if starts else ["GET"])
    assert answer.state.phase == ("Running" if starts else found["phase"])


@pytest.mark.parametrize(
    ("status", "problem", "reason"),
    [
        (409, {"reason": "running"}, "AnotherBackupRuns"),
        (409, {"reason": "no-destination"}, "NoDestination"),
        (502, {"type": "urn:swarm-memory:destination-denied"}, "DestinationDenied"),
        (429, {}, "ServiceBusy"),
        (403, {}, "NoAnswer"),
    ],
)
async def test_a_refusal_has_a_reason(server, status, problem, reason):
    service, answers, _ = server
    answers |= {"GET": MISSING, "PUT": (status, {"detail": "why", **problem})}
    answer = await service.advance(SERVICE, "b1", "Requested", asked=False)
    assert (answer.state, answer.reason) == (None, reason)
    assert "why" in answer.message
    assert "admin" not in answer.message


async def test_a_deletion_is_asked_for_once(server):
    service, answers, asked = server
    answers["DELETE"] = (204, None)
    assert (await service.delete(SERVICE, "b.1")).reason == ""
    assert [(method, path) for method, path, *_ in asked] == [("DELETE", "/admin/backups/b.1")]


async def test_a_service_that_is_away_is_told_and_no_error():
    answer = await HttpBackupService("http://127.0.0.1:9").delete(SERVICE, "b1")
    assert answer.reason == "NoAnswer"


def test_a_code_becomes_a_reason():
    assert [reason_of(code) for code in ("disk-full", "interrupted", "")] == ["DiskFull", "Interrupted", "BackupFailed"]
