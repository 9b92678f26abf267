"""The OpenAPI document tells the truth about the service."""

import asyncio
import json
import random
import re
import sys

from support.budget import budget

from swarm_operator.memory.service.http import openapi

ADMIN = "admin-0123456789abcdef"
UNLIMITED = {"watch", "export", "import", "backup"}
"""Answers that are no single document."""


async def test_it_is_served_to_everyone(service):
    answer = await service.call("GET", "/openapi.json", token=None)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == json.loads(json.dumps(openapi.document()))
    assert (await service.call("PUT", "/openapi.json", {}, token=None)).status == 405


def test_names_of_operations_are_unique():
    assert len({operation.name for operation in openapi.OPERATIONS}) == len(openapi.OPERATIONS)


async def test_each_operation_has_its_route_and_takes_the_token_that_it_says(service):
    for operation in openapi.OPERATIONS:
        path = re.sub("{[a-z]+}", "x", operation.path)
        if operation.needed:
            path += "?" + "&".join(f"{name}=x" for name in operation.needed)
        if operation.open:
            assert (await service.call(operation.method, path, token=None)).status == 200, operation.name
            continue
        assert (await service.call(operation.method, path, token=None)).status == 401, operation.name
        if operation.name in UNLIMITED:
            continue
        as_client = await service.call(operation.method, path, {})
        assert (as_client.status == 403) is operation.admin, operation.name
        answer = await service.call(operation.method, path, {}, token=ADMIN)
        assert answer.status != 405, operation.name
        assert answer.status != 404 or 404 in operation.conflicts, operation.name
        other = await service.call("OPTIONS", path, token=ADMIN)
        assert other.status == 405, operation.name
        listed = {each.method for each in openapi.OPERATIONS if each.path == operation.path}
        allowed = listed | ({"HEAD"} if "GET" in listed else set())
        assert set(other.headers["allow"].split(", ")) == allowed, operation.name


async def test_schemathesis_runs_clean_over_it(fork_process, tmp_path):
    """Requests that keep the schemas and that break them, and what is answered to each.

    They cover each part of each schema, and are the same in each run; others are made up in test_records_fuzz and fuzz.
    `make test` leaves out a random half of the paths.
    Left out: that every request that keeps its schema is accepted. Lengths are counted in bytes and in characters,
    integers end at 64 bits, cursors come from answers, tasks depend on tasks that exist: no schema says that.
    A watch has no end, and an import is no JSON.
    """
    process = await fork_process()
    paths = sorted({operation.path for operation in openapi.OPERATIONS})
    left_out = {"/v1/watch", "/v1/import", *random.sample(paths, budget(len(paths) // 2, long=0))}
    excluded = [part for path in sorted(left_out) for part in ("--exclude-path", path)]
    (tmp_path / "openapi.json").write_text(json.dumps(openapi.document()))
    token = (process.data_dir / "tokens" / "admin-token").read_text().strip()
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", process.url,
        "--header", f"Authorization: Bearer {token}", *excluded,
        "--exclude-checks", "positive_data_acceptance", "--phases", "examples,coverage", "--generation-deterministic",
        "--continue-on-failure", "--no-color",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await run.communicate()
    text = output.decode()
    assert run.returncode == 0, text
    assert int(re.search(r"(\d+) generated", text)[1]) > budget(1000, long=3000), text
    assert not [event for event in process.log if event.get("level") == "error"]
