"""A cluster that has only IPv6: its API server listens on ::1 alone and gives Services addresses of IPv6.

No pod runs here. The memory service is a process on this machine with the arguments of the pod.
"""

import ipaddress
import socket

import pytest
from support.controlplane import IPV6_ONLY, run_control_plane

from swarm_operator.controllers.common import kinds


@pytest.fixture(scope="module")
def control_plane(binaries, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ipv6-only")
    with run_control_plane(binaries, folder, *IPV6_ONLY, loopback="::1") as plane:
        yield plane


async def test_its_api_server_is_not_reached_over_ipv4(control_plane):
    port = int(control_plane.url.rpartition(":")[2])
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=60)


async def test_a_store_gets_services_of_ipv6_and_a_pod_that_answers_over_ipv6(
    objects, start_operator, eventually, memory_service, memory_port
):
    start_operator("--memory-url", f"http://[::1]:{memory_port}", "--status-interval", "0.2")
    await objects.store("s")

    async def made() -> bool:
        return bool(await objects.get(kinds.STATEFUL_SET, "s"))

    await eventually(made)
    service = (await objects.get(kinds.SERVICE, "s"))["spec"]
    assert service["ipFamilies"] == ["IPv6"]
    assert ipaddress.ip_address(service["clusterIP"]).version == 6
    headless = (await objects.get(kinds.SERVICE, "s-headless"))["spec"]
    assert (headless["clusterIP"], headless["ipFamilies"]) == ("None", ["IPv6"])

    pod = (await objects.get(kinds.STATEFUL_SET, "s"))["spec"]["template"]["spec"]
    command, *flags = pod["containers"][0]["args"]
    assert command == "serve"
    memory_service((await objects.get(kinds.SECRET, "s-auth"))["data"], memory_port, *flags)
    await objects.pretend_ready("s")

    async def counted() -> bool:
        status = (await objects.get(kinds.SWARM_MEMORY_STORE, "s"))["status"]
        return status["phase"] == "Ready" and status["entryCount"] == 0

    await eventually(counted)
