"""HttpRestoreService against a server that answers as the contract of /admin/restores says."""

import pytest
from aiohttp import web
from unit.controllers.swarmmemoryrestore.conftest import NAME, observed

from swarm_operator.api.v1alpha1 import SwarmMemoryRestore
from swarm_operator.controllers.swarmmemorybackup.service import Service
from swarm_operator.controllers.swarmmemoryrestore.service import HttpRestoreService, Request, service_name
from swarm_operator.memory.transfer.backups.manifest import MAX_NAME, check_name
from swarm_operator.runtime.resource import Key

SERVICE = Service(Key("ns", "bees"), "admin")
WHOLE = Request("file:///b/bees/b1", None, "", dry_run=False)
PART = Request("file:///b/bees/b1", ("a",), "p:", dry_run=False)
PATH = f"/admin/restores/{NAME}"
MISSING = (404, {"type": "urn:swarm-memory:backup-not-found", "title": "not found", "status": 404})


def document(phase, **fields):
    return dict(observed(phase, **fields).state.raw)


@pytest.fixture
async def server():
    """Answers what a test tells it to, by method and path; notes what it is asked."""
    answers, asked = {}, []

    async def handle(request):
        asked.append((request.method, request.path, await request.text()))
        status, body = answers[request.method, request.path]
        kind = "application/json" if status < 400 else "application/problem+json"
        return web.json_response(body, status=status, content_type=kind)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield HttpRestoreService(f"http://127.0.0.1:{runner.addresses[0][1]}"), answers, asked
    await runner.cleanup()


async def test_a_restore_that_is_not_known_is_started(server):
    service, answers, asked = server
    answers |= {("GET", PATH): MISSING, ("PUT", PATH): (202, document("Fetching"))}
    answer = await service.advance(SERVICE, NAME, PART, known=False, again=True)
    assert answer.state.state.phase == "Fetching"
    assert [method for method, *_ in asked] == ["GET", "PUT"]
    assert asked[1][2] == (
        '{"location":"file:///b/bees/b1","namespaces":["a"],"key_prefix":"p:","dry_run":false,'
        '"allow_other_swarm":false,"safety_backup":null}'
    )


async def test_one_that_the_service_has_forgotten_is_not_started_again(server):
    service, answers, asked = server
    answers["GET", PATH] = MISSING
    answer = await service.advance(SERVICE, NAME, WHOLE, known=True, again=True)
    assert (answer.state, answer.reason) == (None, "OutcomeUnknown")
    assert [method for method, *_ in asked] == ["GET"]


@pytest.mark.parametrize(
    ("found", "again", "starts"),
    [
        (document("Swapping"), True, False),
        (document("Completed"), True, False),
        (document("Failed", problem=("interrupted", "interrupted; ask again")), True, True),
        (document("Failed", problem=("interrupted", "interrupted; ask again")), False, False),
        (document("Failed", problem=("disk-full", "no room")), True, False),
    ],
)
async def test_what_was_interrupted_is_asked_for_again_and_what_has_ended_is_not(server, found, again, starts):
    service, answers, asked = server
    answers |= {("GET", PATH): (200, found), ("PUT", PATH): (202, document("Fetching"))}
    answer = await service.advance(SERVICE, NAME, PART, known=True, again=again)
    assert [method for method, *_ in asked] == (["GET", "PUT"] if starts else ["GET"])
    assert answer.state.state.phase == ("Fetching" if starts else found["phase"])


@pytest.mark.parametrize(
    ("others", "reason"), [(["Fetching"], "AnotherRestoreRuns"), (["Failed"], "AnotherBackupRuns")]
)
async def test_a_service_at_work_says_on_what(server, others, reason):
    service, answers, _ = server
    known = [{**document(phase), "name": "other"} for phase in others]
    answers |= {
        ("GET", PATH): MISSING,
        ("PUT", PATH): (409, {"reason": "running", "detail": "the backup b7 is running"}),
        ("GET", "/admin/restores"): (200, {"restores": known}),
    }
    answer = await service.advance(SERVICE, NAME, WHOLE, known=False, again=True)
    assert answer.reason == reason
    assert ("other" if reason == "AnotherRestoreRuns" else "the backup b7 is running") in answer.message


@pytest.mark.parametrize(
    ("status", "problem", "reason"),
    [
        (409, {"reason": "no-destination"}, "NoDestination"),
        (409, {"reason": "exists"}, "RequestRefused"),
        (400, {"field": "key_prefix"}, "RequestRefused"),
        (404, {"type": "urn:swarm-memory:problem:not-found"}, "RequestRefused"),
        (429, {}, "ServiceBusy"),
        (403, {}, "NoAnswer"),
    ],
)
async def test_a_refusal_has_a_reason(server, status, problem, reason):
    service, answers, _ = server
    answers |= {("GET", PATH): MISSING, ("PUT", PATH): (status, {"detail": "why", **problem})}
    answer = await service.advance(SERVICE, NAME, WHOLE, known=False, again=True)
    assert (answer.state, answer.reason) == (None, reason)
    assert "why" in answer.message
    assert "admin" not in answer.message


def backup(name, phase="Completed"):
    members = ("location", "size", "entries", "sha256", "verified_at", "problem")
    return {"name": name, "phase": phase, **dict.fromkeys(members), "location": "file:///b"}


@pytest.mark.parametrize(
    ("request_", "phase", "expected"),
    [
        (WHOLE, "Completed", (f"{NAME}.before-1", f"{NAME}.before-2")),
        (WHOLE, "Failed", (f"{NAME}.before-1", f"{NAME}.before-2")),
        (WHOLE, "Swapping", ()),
        (PART, "Completed", ()),
        (Request(WHOLE.location, None, "", dry_run=True), "Completed", ()),
    ],
)
async def test_safety_backups_of_all_attempts_are_found_at_the_end(server, request_, phase, expected):
    service, answers, _ = server
    names = [backup("b1"), *(backup(f"{NAME}.before-{number}") for number in (1, 2))]
    names += [backup(f"{NAME}.before-3", "Failed"), backup("other.before-1")]
    found = document(phase, safety=[f"{NAME}.before-2"], problem=("disk-full", "") if phase == "Failed" else None)
    answers |= {("GET", PATH): (200, found), ("GET", "/admin/backups"): (200, {"backups": names})}
    answer = await service.advance(SERVICE, NAME, request_, known=True, again=True)
    assert answer.state.safety_backups == expected


async def test_a_destination_that_does_not_answer_hides_no_end(server):
    service, answers, _ = server
    away = (502, {"type": "urn:swarm-memory:destination-unreachable", "detail": "away"})
    found = document("Completed", safety=[f"{NAME}.before-2"])
    answers |= {("GET", PATH): (200, found), ("GET", "/admin/backups"): away}
    answer = await service.advance(SERVICE, NAME, WHOLE, known=True, again=True)
    assert answer.state.state.phase == "Completed"
    assert answer.state.safety_backups == (f"{NAME}.before-2",)


@pytest.mark.parametrize("name", ["r", "a" * 253, f"{'a' * 199}.{'b' * 53}"])
def test_the_service_s_name_leaves_room_for_the_safety_backup_s(name):
    spec = {"storeRef": {"name": "s"}, "from": {"location": "s3://b/s/x"}}
    uid = "6f2c1b0a-1111-2222-3333-444455556666"
    restore = SwarmMemoryRestore.model_validate({"metadata": {"name": name, "uid": uid}, "spec": spec})
    found = service_name(restore)
    assert check_name(found).endswith("-6f2c1b0a")
    assert len(check_name(f"{found}.before-1795680000000")) <= MAX_NAME
