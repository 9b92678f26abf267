"""Agents use their memory over TLS with tokens of their own and notice no rotation, and git in an agent uses its token.

kind's only API server would be away while it gets another signing key. So the keys are rotated where the memory reads
them: in the ConfigMap that the operator publishes, while the store is paused.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from e2e.cluster import SYSTEM, TOP, eventually, host_address, kubectl, run
from e2e.test_downtime import Puts, putting
from e2e.test_swarm import records
from support.github import APP, GitHub, private_key

from swarm_operator.controllers.swarmmemorystore.tls.authority import OVERLAP, SECRET_NAME
from swarm_operator.controllers.swarmmemorystore.tls.x509 import KeyPair, new_ca
from swarm_operator.memory.client.loop_thread import LoopThread
from swarm_operator.memory.service.access.service_accounts import SKEW_SECONDS
from swarm_operator.shared.service_accounts import FILE

pytestmark = pytest.mark.timeout(900)

IMAGE = "swarm-e2e-git:dev"
STORE = "my-cluster-memory"
AGENT, OTHER = "my-cluster-agent-0", "my-cluster-agent-1"
LIFETIME = 600
"""Seconds for which docs/security.md says that an agent's token works, beside the clocks' difference."""
TOKEN = "/tmp/token"
"""File of the loops' token: first a link to the projected one."""
LOOPS = ("kept", "fresh")
PROGRAM = """
import asyncio, itertools, json, os, sys
from pathlib import Path
from swarm_operator.memory.client import MemoryClient, MemoryClientError

def client():
    return MemoryClient(
        os.environ["SWARM_MEMORY_URL"], token_file=Path(sys.argv[1]), ca_file=Path(os.environ["SWARM_MEMORY_CA_FILE"]),
        timeout=60, connect_timeout=60, retry_for=0,
    )

async def use(memory, loop, number):
    told = {"loop": loop, "error": None}
    try:
        await memory.put("rotation", loop, number)
        if (await memory.get("rotation", loop)).value != number:
            told["error"] = "another value"
    except MemoryClientError as error:
        told["error"] = str(error)
    print(json.dumps(told), flush=True)
    await asyncio.sleep(0.05)

async def kept():
    async with client() as memory:
        for number in itertools.count():
            await use(memory, "kept", number)

async def fresh():
    for number in itertools.count():
        async with client() as memory:
            await use(memory, "fresh", number)

async def main():
    loops = [asyncio.create_task(loop()) for loop in (kept, fresh)]
    await asyncio.to_thread(sys.stdin.read)
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)

asyncio.run(main())
"""
"""Two loops of PUT and GET without retries: over connections that are kept, and over a new one each time."""
SERVED = "import ssl, sys; print(ssl.get_server_certificate((sys.argv[1], 8080)))"


@pytest.fixture
def github(deployment: None, tmp_path: Path) -> Iterator[GitHub]:
    """A GitHub server on this host, with the repository bees/hive, which has one commit."""
    work, person = tmp_path / "work", ("-c", "user.name=Bee", "-c", "user.email=bee@example.com")
    run("git", "init", "--quiet", work)
    (work / "README").write_text("of the hive\n")
    run("git", "-C", work, "add", "README")
    run("git", "-C", work, *person, "commit", "--quiet", "-m", "Begin")
    run("git", "clone", "--quiet", "--bare", work, tmp_path / "repositories" / "hive.git")
    server, loop = GitHub(tmp_path, address=host_address()), LoopThread()
    loop.start()
    loop.run(server.start())
    yield server
    loop.run(server.stop())
    loop.stop()


@pytest.fixture
def swarm(space, github) -> Iterator[dict[str, Any]]:
    """The store of a swarm with TLS, an App of GitHub, and two agents, which has become ready."""
    run(TOP / "hack/kind/cluster.sh", "load", IMAGE)
    for name, file, content in (
        ("github-app", "private-key.pem", private_key().decode()),
        ("github-ca", "ca.crt", github.ca),
    ):
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {file: content}}
        space.kubectl("apply", "-f", "-", stdin=json.dumps(secret))
    spec = {
        "agents": 2,
        "agentTemplate": {"image": IMAGE, "command": ["swarm-memory", "agent"]},
        "githubApp": {
            "appID": APP,
            "privateKeyRef": {"name": "github-app"},
            "apiURL": github.api_url,
            "caSecretRef": {"name": "github-ca"},
            "repositories": ["bees/hive"],
        },
        "memory": {"enableMemoryStore": True, "size": "1Gi", "deletionPolicy": "Delete", "tls": {"mode": "auto"}},
    }
    kind = {"apiVersion": "swarm.claudeflow.io/v1alpha1", "kind": "SwarmCluster", "metadata": {"name": "my-cluster"}}
    space.kubectl("apply", "-f", "-", stdin=json.dumps({**kind, "spec": spec}))
    space.kubectl("wait", "--for=condition=Ready", "swarmcluster/my-cluster", "--timeout=180s")

    def is_asked_by_tls() -> dict[str, Any]:
        store = space.get(f"swarmmemorystore/{STORE}")
        told = {each["type"]: (each["status"], each["reason"]) for each in store["status"]["conditions"]}
        assert told["Reachable"] == ("True", "Answers")
        assert told["CertificateReady"] == ("True", "Valid")
        assert told["IdentityReady"] == ("True", "KeysPublished")
        return store

    yield eventually(is_asked_by_tls)
    space.kubectl("delete", "swarmcluster/my-cluster", "--timeout=60s")
    assert not github.tokens, "the last token is revoked before the swarm is gone"


def in_agent(space, *command: str, **options: Any) -> str:
    return space.kubectl("exec", AGENT, "--", *command, **options)


_touches = itertools.count()


def touch(space, *objects: str) -> bool:
    """Change an annotation: the operator passes over a store, and the kubelet brings a pod what it mounts, at once."""
    named = objects or (f"pod/{STORE}-0", f"pod/{AGENT}")
    space.kubectl("annotate", "--overwrite", *named, f"e2e/touched={next(_touches)}")
    return True


def certificate(space) -> x509.Certificate:
    """The certificate with which the memory serves new connections."""
    pem = in_agent(space, "python3", "-c", SERVED, f"{STORE}.{space.name}.svc")
    return x509.load_pem_x509_certificate(pem.encode())


def goes_on(puts: Puts) -> None:
    """Wait for more answers of each loop."""
    mark = len(puts.told)
    eventually(lambda: all(len(puts.since(mark, loop)) > 10 for loop in LOOPS))


def certificate_rotates(space, puts: Puts) -> None:
    """The Secret is lost: the operator signs anew, and the service takes the new certificate."""
    before = certificate(space)
    space.kubectl("delete", f"secret/{STORE}-tls")
    touch(space, f"swarmmemorystore/{STORE}")
    eventually(lambda: touch(space) and certificate(space).serial_number != before.serial_number)
    goes_on(puts)


def authority_rotates(space, puts: Puts) -> None:
    """A successor of the CA is published beside it; a day later it signs."""
    former, now = certificate(space).issuer, datetime.now(UTC)
    successor = new_ca("swarm-operator", now)
    in_secret(successor)
    pem = successor.certificate.decode().strip()
    eventually(lambda: touch(space) and pem in in_agent(space, "sh", "-c", "cat $SWARM_MEMORY_CA_FILE"))
    assert certificate(space).issuer == former
    goes_on(puts)
    in_secret(of_the_day_before(successor, now))

    def signs() -> bool:
        return touch(space) and certificate(space).issuer == successor.parsed().subject

    eventually(signs)
    goes_on(puts)


def in_secret(successor: KeyPair) -> None:
    """Make a CA the successor, and have the operator read it: it does at its start."""
    files = {"next.crt": successor.certificate, "next.key": successor.key}
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    kubectl("-n", SYSTEM, "patch", f"secret/{SECRET_NAME}", "-p", json.dumps({"data": data}))
    kubectl("-n", SYSTEM, "delete", "pod", "-l", "control-plane=controller-manager", "--wait=false")


def of_the_day_before(pair: KeyPair, now: datetime) -> KeyPair:
    """The same CA, as if it had been made before the overlap."""
    found, key = pair.parsed(), serialization.load_pem_private_key(pair.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    builder = x509.CertificateBuilder(found.issuer, found.subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - 2 * OVERLAP).not_valid_after(found.not_valid_after_utc + timedelta(days=1))
    for extension in found.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return KeyPair(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), pair.key)


def accepts(space, token_file: str) -> bool:
    """Whether the memory answers who has the token of a file in the agent."""
    command = f'swarm-memory stats --token-file "{token_file}"'
    return in_agent(space, "sh", "-c", command, check=False) != ""


def give(space, token: str, file: str = TOKEN) -> None:
    """Put a token into a file of the agent, in one step."""
    space.kubectl("exec", "-i", AGENT, "--", "sh", "-c", f"cat >{file}.new && mv {file}.new {file}", stdin=token)


class Signer:
    """A signing key that the memory learns of, in place of the cluster's."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.public |= {"kid": "e2e", "alg": "ES256"}

    def sign(self, claims: dict[str, Any], *, expires_at: float) -> str:
        expiring = {"iss": self._issuer, "iat": int(expires_at) - LIFETIME, "exp": int(expires_at)}
        return jwt.encode(claims | expiring, self._key, algorithm="ES256", headers={"kid": "e2e"})


def claims_of(space, pod: str) -> dict[str, Any]:
    """What the projected token of an agent says."""
    token = space.kubectl("exec", pod, "--", "sh", "-c", "cat $SWARM_MEMORY_TOKEN_FILE")
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    assert claims["sub"] == f"system:serviceaccount:{space.name}:my-cluster-agent"
    assert claims["kubernetes.io"]["pod"]["name"] == pod
    assert claims["exp"] - claims["iat"] <= LIFETIME
    return claims


def signing_keys_rotate(space, puts: Puts) -> Signer:
    """A new key is published beside those of before, tokens are signed with it, and those of before are taken away."""
    space.kubectl("patch", f"swarmmemorystore/{STORE}", "--type=merge", "-p", '{"spec": {"paused": true}}')
    space.kubectl("wait", "--for=condition=Paused", f"swarmmemorystore/{STORE}", "--timeout=60s")
    document = json.loads(space.get(f"configmap/{STORE}-identity")["data"][FILE])
    signer, claims = Signer(document["issuer"]), claims_of(space, AGENT)

    def publish(*keys: dict[str, Any]) -> None:
        data = {FILE: json.dumps(document | {"keys": keys})}
        space.kubectl("patch", f"configmap/{STORE}-identity", "-p", json.dumps({"data": data}))

    publish(*document["keys"], signer.public)
    new = signer.sign(claims, expires_at=time.time() + LIFETIME)
    give(space, new, "/tmp/tried")
    eventually(lambda: touch(space) and accepts(space, "/tmp/tried"))
    goes_on(puts)
    give(space, new)
    goes_on(puts)
    publish(signer.public)
    eventually(lambda: touch(space) and not accepts(space, "$SWARM_MEMORY_TOKEN_FILE"))
    goes_on(puts)
    return signer


def tokens_of_deleted_pods_end(space, signer: Signer) -> None:
    """Such a token works until it expires, and no longer than the clocks may differ."""
    claims = claims_of(space, OTHER)
    space.kubectl("delete", f"pod/{OTHER}", "--force", "--grace-period=0")
    give(space, signer.sign(claims, expires_at=time.time() + LIFETIME))
    assert accepts(space, TOKEN)
    give(space, signer.sign(claims, expires_at=time.time() - SKEW_SECONDS))
    assert not accepts(space, TOKEN)


def git_uses_the_token(space, github: GitHub) -> None:
    """Clone, be refused with a token that the server does not know any more, and clone with the next one."""
    url = f"https://{github.host}/bees/hive.git"

    def cloned() -> bool:
        command = f"rm -rf /tmp/hive && GIT_TERMINAL_PROMPT=0 git clone --quiet {url} /tmp/hive && cat /tmp/hive/README"
        return in_agent(space, "sh", "-c", command, check=False) == "of the hive\n"

    eventually(lambda: touch(space) and cloned())
    github.tokens.clear()
    assert not cloned()
    space.kubectl("annotate", "swarmcluster/my-cluster", "swarm.claudeflow.io/rotate-token=true")
    eventually(lambda: touch(space) and cloned())


@pytest.mark.usefixtures("operator_alone")
def test_agents_notice_no_rotation_and_git_uses_their_token(space, swarm, github):
    assert swarm["status"]["endpoints"]["http"] == f"https://{STORE}.{space.name}.svc:8080"
    eventually(lambda: [agent["id"] for agent in records(space, "memory", "agents")] == [AGENT, OTHER])
    git_uses_the_token(space, github)
    in_agent(space, "sh", "-c", f'ln -s "$SWARM_MEMORY_TOKEN_FILE" {TOKEN}')
    with putting(space, PROGRAM, TOKEN, pod=AGENT) as puts:
        goes_on(puts)
        certificate_rotates(space, puts)
        authority_rotates(space, puts)
        signer = signing_keys_rotate(space, puts)
    assert [puts.errors(0, loop) for loop in LOOPS] == [[], []]
    tokens_of_deleted_pods_end(space, signer)
