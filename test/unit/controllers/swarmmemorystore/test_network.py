from swarm_operator.controllers.common import labels
from swarm_operator.controllers.swarmmemorystore import network
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import stateful_set


def test_clients_reach_the_pod_as_soon_as_it_serves(store):
    service = network.service(store())
    assert service["metadata"]["name"] == "bees"
    assert service["spec"]["type"] == "ClusterIP"
    assert service["spec"]["selector"] == labels.selector(store())
    assert service["spec"]["publishNotReadyAddresses"] is True, "readiness is known two seconds later"


def test_services_have_addresses_of_each_family_of_the_cluster(store):
    for service in (network.service(store()), network.headless_service(store())):
        assert service["spec"]["ipFamilyPolicy"] == "PreferDualStack"


def test_the_pod_has_a_name_of_its_own_ready_or_not(store):
    service = network.headless_service(store())
    assert service["metadata"]["name"] == network.headless_name(store()) == "bees-headless"
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == labels.selector(store())


def test_services_lead_to_ports_that_the_pod_has(store):
    (container,) = stateful_set(store(), image="i")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for service in (network.service(store()), network.headless_service(store())):
        assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == ports


def test_the_status_says_where_clients_reach_the_store(store):
    assert network.endpoints(store(), secure=False) == {
        "http": "http://bees.ns.svc:8080",
        "mcp": "http://bees.ns.svc:8080/mcp",
        "grpc": "bees.ns.svc:9090",
        "metrics": "http://bees.ns.svc:9091/metrics",
    }
    assert network.endpoints(store(mcpMode=False), secure=False) == {
        "http": "http://bees.ns.svc:8080",
        "grpc": "bees.ns.svc:9090",
        "metrics": "http://bees.ns.svc:9091/metrics",
    }
    assert network.endpoints(store(), secure=True) == {
        "http": "https://bees.ns.svc:8080",
        "mcp": "https://bees.ns.svc:8080/mcp",
        "grpc": "bees.ns.svc:9090",
        "metrics": "https://bees.ns.svc:9091/metrics",
    }


def test_services_tell_proxies_of_clear_text_only_where_it_is(store):
    def protocol(made):
        return {port["name"]: port.get("appProtocol") for port in network.service(made)["spec"]["ports"]}["grpc"]

    assert protocol(store()) == "kubernetes.io/h2c"
    assert protocol(store(tls={"mode": "off"})) == "kubernetes.io/h2c"
    assert protocol(store(tls={"mode": "auto"})) is None
