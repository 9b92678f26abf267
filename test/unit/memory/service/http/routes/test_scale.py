"""`GET /v1/scale/{pool}`: what KEDA's metrics-api scaler reads, and the examples that configure it."""

from urllib.parse import urlsplit

import pytest
import yaml
from support.pages import TOP

from swarm_operator.memory.client import MemoryClient, MemoryRequestError

EXAMPLES = TOP / "examples/agents"


def documents(name):
    return {document["kind"]: document for document in yaml.safe_load_all((EXAMPLES / name).read_text())}


@pytest.fixture
async def memory(service):
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token_file=service.tokens / "client-token") as client:
        yield client


async def test_the_work_of_a_pool_is_one_flat_document(service, memory, clock):
    await memory.tasks.create(id="t1", type="team/coder")
    await memory.tasks.create(id="t2", type="team/coder")
    await memory.tasks.claim("t1", agent="a1")
    clock.advance(1.5)
    answer = await service.call("GET", "/v1/scale/team%2Fcoder")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == {
        "pool": "team/coder", "claimable": 1, "inFlight": 1, "oldestSeconds": 1.5, "work": 2, "partial": False,
    }  # fmt: skip
    found = await memory.tasks.workload("team/coder")
    assert (found.claimable, found.in_flight, found.oldest_seconds, found.work, found.partial) == (1, 1, 1.5, 2, False)
    assert (await memory.tasks.workload()).work == 2
    assert (await memory.tasks.workload("coder")).work == 0


async def test_what_is_wrong_is_named(service, memory):
    answer = await service.call("GET", "/v1/scale/*?x=1")
    assert (answer.status, answer.json["field"]) == (400, "query parameter 'x'")
    with pytest.raises(MemoryRequestError) as caught:
        await memory.tasks.workload("x" * 129)
    assert caught.value.problem["field"] == "pool"


@pytest.mark.parametrize(
    ("name", "scheme", "modes", "given"),
    [
        ("scaled-object.yaml", "http", "bearer", {"token": "client-token"}),
        # KEDA reads `ca` only with the mode tls, and takes that mode only with a client certificate.
        (
            "scaled-object-tls.yaml", "https", "bearer,tls",
            {"token": "client-token", "cert": "tls.crt", "key": "tls.key", "ca": "ca.crt"},
        ),
    ],
)  # fmt: skip
async def test_the_example_reads_a_number_that_is_there(service, memory, name, scheme, modes, given):
    example = documents(name)
    (trigger,) = example["ScaledObject"]["spec"]["triggers"]
    settings = trigger["metadata"]
    assert trigger["type"] == "metrics-api"
    await memory.tasks.create(id="t1")
    assert urlsplit(settings["url"]).scheme == scheme
    answer = await service.call("GET", urlsplit(settings["url"]).path)
    assert answer.json[settings["valueLocation"]] == 1
    # The fallback is what keeps the agents while the memory can't be reached.
    assert example["ScaledObject"]["spec"]["fallback"]["replicas"] > 0
    authentication = example["TriggerAuthentication"]["spec"]
    references = [*authentication["secretTargetRef"], *authentication.get("configMapTargetRef", ())]
    assert trigger["authenticationRef"]["name"] == example["TriggerAuthentication"]["metadata"]["name"]
    assert settings["authMode"] == modes
    assert {reference["parameter"]: reference["key"] for reference in references} == given


@pytest.mark.parametrize("name", ["scaled-object.yaml", "scaled-object-tls.yaml"])
def test_the_example_scales_the_example_of_a_swarm(name):
    swarm = documents("../swarm-with-agents.yaml")["SwarmCluster"]
    target = documents(name)["ScaledObject"]["spec"]["scaleTargetRef"]
    assert target == {name: swarm[name] for name in ("apiVersion", "kind")} | {"name": swarm["metadata"]["name"]}


def test_the_example_of_agents_selects_its_pods():
    deployment = documents("deployment.yaml")["Deployment"]
    assert deployment["spec"]["selector"]["matchLabels"] == deployment["spec"]["template"]["metadata"]["labels"]
