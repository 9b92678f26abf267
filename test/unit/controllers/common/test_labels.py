from swarm_operator.controllers.common import kinds, labels


def test_everything_of_a_store_carries_its_labels(store):
    assert labels.of_store(store(swarmId="hive", swarmClusterRef="hive")) == {
        "app.kubernetes.io/name": "swarm-memory",
        "app.kubernetes.io/instance": "bees",
        "app.kubernetes.io/part-of": "swarm",
        "app.kubernetes.io/managed-by": "swarm-operator",
        "swarm.claudeflow.io/memory-store": "bees",
        "swarm.claudeflow.io/swarm-id": "hive",
        "swarm.claudeflow.io/cluster": "hive",
    }


def test_a_store_of_no_cluster_carries_none(store):
    assert labels.CLUSTER not in labels.of_store(store())
    assert labels.of_store(store())[labels.SWARM_ID] == "bees"


def test_the_selector_is_part_of_the_labels_and_does_not_depend_on_the_spec(store):
    plain, changed = store(), store(swarmId="hive", swarmClusterRef="c", version="2")
    assert labels.selector(plain) == labels.selector(changed)
    assert labels.selector(changed).items() <= labels.of_store(changed).items()


def test_what_is_watched_by_label_is_what_carries_it(store):
    name, _, value = labels.MANAGED.partition("=")
    assert labels.of_store(store())[name] == value


def test_kinds_have_the_names_of_their_models():
    assert kinds.SWARM_MEMORY_STORE.path(namespace="ns", name="a") == (
        "/apis/swarm.claudeflow.io/v1alpha1/namespaces/ns/swarmmemorystores/a"
    )
    assert kinds.SWARM_CLUSTER.api_version == "swarm.claudeflow.io/v1alpha1"
    assert kinds.STATEFUL_SET.api_version == "apps/v1"
