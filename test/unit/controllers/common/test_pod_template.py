"""What users may add to a pod's template, how it is merged, and what is refused by name."""

import copy

import hypothesis.strategies as st
import pytest
from hypothesis import given

from swarm_operator.api.quantity import canonical_amount
from swarm_operator.api.v1alpha1.pod_template import PodTemplate
from swarm_operator.controllers.common.children import matches
from swarm_operator.controllers.common.pod_security import violations
from swarm_operator.controllers.common.pod_template import PodTemplateError, customised, operators_part

TEMPLATE = {
    "metadata": {"labels": {"app": "memory", "swarm.claudeflow.io/memory-store": "bees"}, "annotations": {"a": "1"}},
    "spec": {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "memory",
                "image": "i",
                "imagePullPolicy": "IfNotPresent",
                "args": ["serve"],
                "env": [{"name": "DATA_DIR", "value": "/data"}],
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
                "resources": {"requests": {"cpu": "50m", "memory": "242Mi"}, "limits": {"memory": "484Mi"}},
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }
        ],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "bees-data"}}],
        "imagePullSecrets": [{"name": "ours"}],
    },
}
OURS = operators_part("memory")


def merged(spec, **metadata):
    return customised(TEMPLATE, PodTemplate.model_validate({"spec": spec, "metadata": metadata}), OURS)


def memory(**fields):
    """An override of the operator's container."""
    return {"containers": [{"name": "memory", **fields}]}


def refusal(spec, **metadata):
    with pytest.raises(PodTemplateError) as refused:
        merged(spec, **metadata)
    return str(refused.value)


def test_nothing_added_changes_nothing():
    assert customised(TEMPLATE, PodTemplate(), OURS) == TEMPLATE


def test_fields_of_the_pod_are_added():
    spec = {
        "nodeSelector": {"disk": "ssd"},
        "affinity": {"nodeAffinity": {}},
        "tolerations": [{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "Exists", "effect": "NoExecute"}],
        "priorityClassName": "high",
        "runtimeClassName": "gvisor",
        "serviceAccountName": "me",
    }
    assert merged(spec, labels={"team": "x"})["spec"] == {**TEMPLATE["spec"], **spec}
    assert merged(spec, labels={"team": "x"})["metadata"]["labels"] == {**TEMPLATE["metadata"]["labels"], "team": "x"}


def test_lists_with_keys_are_merged_by_them():
    constraint = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    made = merged(
        {
            "imagePullSecrets": [{"name": "ours"}, {"name": "theirs"}],
            "topologySpreadConstraints": [constraint, {**constraint, "whenUnsatisfiable": "ScheduleAnyway"}],
            "volumes": [{"name": "extra", "emptyDir": {"sizeLimit": "0.5Gi"}}],
            **memory(
                env=[{"name": "EXTRA", "value": "1"}],
                volumeMounts=[{"name": "extra", "mountPath": "/extra"}],
                ports=[{"name": "udp", "containerPort": 8080, "protocol": "UDP"}],
            ),
        }
    )["spec"]
    (container,) = made["containers"]
    assert made["imagePullSecrets"] == [{"name": "ours"}, {"name": "theirs"}]
    assert len(made["topologySpreadConstraints"]) == 2
    assert made["volumes"] == [*TEMPLATE["spec"]["volumes"], {"name": "extra", "emptyDir": {"sizeLimit": "512Mi"}}]
    assert [variable["name"] for variable in container["env"]] == ["DATA_DIR", "EXTRA"]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/data", "/extra"]
    assert [port["protocol"] for port in container["ports"]] == ["TCP", "UDP"]


@pytest.mark.parametrize(
    ("given_", "stored"),
    [
        ("0.5", "500m"), (0.5, "500m"), (2, "2"), ("1000m", "1"), ("0.1Gi", "107374182400m"), ("1n", "1m"),
        ("4174.86Mi", "4377657999360m"), ("3072Ki", "3Mi"), ("0.5Ki", "512"), ("1e3", "1e3"), ("12e4", "120e3"),
        ("0Gi", "0"), ("1.5Gi", "1536Mi"), (".5", "500m"), ("1000", "1k"), ("1025", "1025"), ("100.1m", "101m"),
    ],
)  # fmt: skip
def test_amounts_are_as_the_api_server_stores_them(given_, stored):
    made = merged(memory(resources={"limits": {"cpu": given_}}))
    assert made["spec"]["containers"][0]["resources"]["limits"] == {"memory": "484Mi", "cpu": stored}


def test_a_limit_can_be_removed():
    made = merged(memory(resources={"limits": {"memory": None}, "requests": None}))
    assert made["spec"]["containers"][0]["resources"] == {"limits": {}}


def test_a_sidecar_gets_the_security_context_that_the_restricted_standard_asks_for():
    sidecar = {"name": "side", "image": "s", "securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}}}
    made = merged({"containers": [sidecar], "initContainers": [{"name": "init", "image": "s"}]})["spec"]
    bare = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert made["initContainers"] == [{"name": "init", "image": "s", "securityContext": bare}]
    capabilities = {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
    assert made["containers"][1]["securityContext"] == {**bare, "capabilities": capabilities}


SET = "is set by the operator; leave it out"
BOUND = "the restricted Pod Security Standard is the bound"
SIDE = "spec.containers[side]"


def side(**context):
    return {"containers": [{"name": "side", "image": "s", "securityContext": context}]}


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (memory(command=["sh"]), f"spec.containers[memory].command: {SET}"),
        (memory(args=["serve", "--no"]), f"spec.containers[memory].args: {SET}"),
        (memory(image="other"), f"spec.containers[memory].image: {SET}"),
        (memory(lifecycle={"preStop": {}}), f"spec.containers[memory].lifecycle: {SET}"),
        (memory(readinessProbe={}), f"spec.containers[memory].readinessProbe: {SET}"),
        (memory(livenessProbe={"periodSeconds": 1}), f"spec.containers[memory].livenessProbe: {SET}"),
        (memory(env=[{"name": "DATA_DIR", "value": "/x"}]), f"spec.containers[memory].env[DATA_DIR]: {SET}"),
        (memory(ports=[{"containerPort": 8080, "name": "x"}]), f"spec.containers[memory].ports[8080]: {SET}"),
        (
            memory(volumeMounts=[{"name": "x", "mountPath": "/data/"}]),
            f"spec.containers[memory].volumeMounts[/data]: {SET}",
        ),
        (
            memory(volumeMounts=[{"name": "x", "mountPath": "/data/sub"}]),
            "spec.containers[memory].volumeMounts[/data/sub]: hides a path of the operator's; not allowed: /data",
        ),
        (
            memory(volumeMounts=[{"name": "x", "mountPath": "/"}]),
            "spec.containers[memory].volumeMounts[/]: hides a path of the operator's; not allowed: /data",
        ),
        ({"volumes": [{"name": "data", "emptyDir": {}}]}, f"spec.volumes[data]: {SET}"),
        ({"hostname": "x"}, f"spec.hostname: {SET}"),
        ({"restartPolicy": "Never"}, f"spec.restartPolicy: {SET}"),
        ({"nodeName": "n"}, f"spec.nodeName: {SET}"),
        ({"automountServiceAccountToken": True}, f"spec.automountServiceAccountToken: {SET}"),
        ({"automountServiceAccountToken": None}, "automountServiceAccountToken: is set by the operator and cannot"),
        ({"securityContext": {"runAsNonRoot": False}}, f"spec.securityContext.runAsNonRoot: {SET}"),
        ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "seccompProfile.type: 'Unconfined' is not"),
        ({"terminationGracePeriodSeconds": 59}, "spec.terminationGracePeriodSeconds: must be a number of at least 60"),
        ({"terminationGracePeriodSeconds": True}, "spec.terminationGracePeriodSeconds: must be a number"),
        ({"hostNetwork": True}, f"spec.hostNetwork: must not be true; {BOUND}"),
        ({"hostPID": True}, f"spec.hostPID: must not be true; {BOUND}"),
        ({"hostIPC": True}, f"spec.hostIPC: must not be true; {BOUND}"),
        ({"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}, "spec.volumes[h].hostPath: is not allowed; allowed"),
        ({"securityContext": {"sysctls": [{"name": "kernel.x"}]}}, "spec.securityContext.sysctls[kernel.x]: is not"),
        (memory(securityContext={"privileged": True}), "[memory].securityContext.privileged: must not be true"),
        (memory(securityContext={"runAsUser": 1}), f"spec.containers[memory].securityContext.runAsUser: {SET}"),
        (
            memory(securityContext={"capabilities": {"add": ["NET_BIND_SERVICE"]}}),
            f"spec.containers[memory].securityContext.capabilities.add: {SET}",
        ),
        (side(privileged=True), f"{SIDE}.securityContext.privileged: must not be true; {BOUND}"),
        (side(runAsNonRoot=False), f"{SIDE}.securityContext.runAsNonRoot: must not be false; {BOUND}"),
        (side(runAsUser=0), f"{SIDE}.securityContext.runAsUser: must not be 0; {BOUND}"),
        (side(allowPrivilegeEscalation=True), f"{SIDE}.securityContext.allowPrivilegeEscalation: must be false"),
        (side(procMount="Unmasked"), f"{SIDE}.securityContext.procMount: must be Default"),
        (side(capabilities={"drop": ["KILL"]}), f"{SIDE}.securityContext.capabilities.drop: must name ALL"),
        (side(capabilities={"add": ["SYS_ADMIN"]}), "capabilities.add: SYS_ADMIN is not allowed"),
        (side(appArmorProfile={"type": "Unconfined"}), "appArmorProfile.type: 'Unconfined' is not allowed"),
        (side(seLinuxOptions={"user": "root"}), f"{SIDE}.securityContext.seLinuxOptions: is not allowed"),
        (side(windowsOptions={"hostProcess": True}), "windowsOptions.hostProcess: must not be true"),
        (
            {"initContainers": [{"name": "i", "image": "s", "ports": [{"containerPort": 1, "hostPort": 1}]}]},
            f"spec.initContainers[i].ports[1].hostPort: is not allowed; {BOUND}",
        ),
        (
            {"containers": [{"name": "side", "livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}]},
            f"{SIDE}.livenessProbe.httpGet.host: is not allowed; {BOUND}",
        ),
        ({"$patch": "replace"}, "spec.$patch: directives of a patch are not supported; leave it out"),
        ({"containers": [{"name": "side", "$patch": "delete"}]}, f"{SIDE}.$patch: directives of a patch"),
        ({"affinity": {"podAffinity": {"$retainKeys": []}}}, "spec.affinity.podAffinity.$retainKeys: directives"),
        ({"containers": "side"}, "spec.containers: must be a list of objects"),
        ({"containers": ["side"]}, "spec.containers: must be a list of objects"),
        ({"containers": None}, "spec.containers: is set by the operator and cannot be removed"),
        ({"containers": [{"image": "s"}]}, "spec.containers[0].name: is required"),
        ({"volumes": [{"name": "a"}, {"name": "a"}]}, "spec.volumes[a]: is given twice"),
        (memory(resources={"limits": {"cpu": "much"}}), "resources.limits[cpu]: 'much' is not a quantity; allowed:"),
    ],
)  # fmt: skip
def test_what_the_operator_needs_is_refused_by_name(spec, problem):
    before = copy.deepcopy(TEMPLATE)
    said = refusal(spec)
    assert said.startswith("spec.podTemplate.spec.")
    assert problem in said
    assert before == TEMPLATE


def test_labels_and_annotations_of_the_operator_are_refused_by_name():
    assert refusal({}, labels={"app": "x"}) == f"spec.podTemplate.metadata.labels[app]: {SET}"
    named = "swarm.claudeflow.io/cluster"
    assert f"metadata.labels[{named}]: labels and annotations of swarm" in refusal({}, labels={named: "x"})
    apparmor = "container.apparmor.security.beta.kubernetes.io/memory"
    assert f"metadata.annotations[{apparmor}]: 'unconfined'" in refusal({}, annotations={apparmor: "unconfined"})


def test_every_problem_is_named_with_the_place_of_the_override():
    override = PodTemplate.model_validate({"spec": {"hostname": "x", **memory(command=["x"])}})
    with pytest.raises(PodTemplateError) as refused:
        customised(TEMPLATE, override, OURS, at="spec.agents.podTemplate")
    assert str(refused.value) == (
        f"spec.agents.podTemplate.spec.hostname: {SET}; "
        f"spec.agents.podTemplate.spec.containers[memory].command: {SET}"
    )  # fmt: skip


def test_what_the_operator_sets_may_be_repeated():
    assert merged(copy.deepcopy(TEMPLATE["spec"])) == TEMPLATE


NAMES = st.sampled_from(["memory", "data", "a", "b", "/data", "/x", "DATA_DIR", "ours", ""])
SCALARS = st.none() | st.booleans() | st.integers(-1, 100) | NAMES | st.sampled_from(["0.5", "1Gi", "ALL"])
FIELDS = st.sampled_from(
    ["name", "image", "args", "command", "env", "ports", "volumeMounts", "mountPath", "containerPort", "resources",
     "limits", "requests", "cpu", "memory", "securityContext", "capabilities", "add", "drop", "livenessProbe",
     "containers", "initContainers", "volumes", "emptyDir", "sizeLimit", "tolerations", "imagePullSecrets", "affinity",
     "nodeSelector", "terminationGracePeriodSeconds", "automountServiceAccountToken", "key", "privileged", "$patch",
     "runAsUser", "seccompProfile", "type", "hostAliases", "ip", "topologySpreadConstraints", "topologyKey"]
)  # fmt: skip
ANYTHING = st.recursive(SCALARS, lambda parts: st.lists(parts, max_size=3) | st.dictionaries(FIELDS, parts, max_size=4))


def named(key, **fields):
    item = st.fixed_dictionaries({key: NAMES}, optional=fields)
    return st.lists(item, max_size=2, unique_by=lambda found: found[key])


AMOUNTS = st.dictionaries(st.sampled_from(["cpu", "memory", "x"]), st.sampled_from([1, 0.5, "0.5", "1.5Gi", "7m"]))
CONTAINERS = named(
    "name",
    image=NAMES,
    env=named("name", value=NAMES),
    volumeMounts=named("mountPath", name=NAMES),
    resources=st.fixed_dictionaries({}, optional={"limits": AMOUNTS, "requests": AMOUNTS}),
    securityContext=st.sampled_from([{}, {"readOnlyRootFilesystem": True}, {"capabilities": {"drop": ["ALL"]}}]),
)
LIKELY = st.fixed_dictionaries(
    {},
    optional={
        "containers": CONTAINERS,
        "initContainers": CONTAINERS,
        "volumes": named("name", emptyDir=st.sampled_from([{}, {"sizeLimit": "0.5Gi"}])),
        "imagePullSecrets": named("name"),
        "tolerations": st.lists(st.fixed_dictionaries({"key": NAMES}), max_size=2),
        "nodeSelector": st.dictionaries(NAMES, NAMES, max_size=2),
        "terminationGracePeriodSeconds": st.integers(50, 90),
    },
)


def kept():
    """What no override may change."""
    template = copy.deepcopy(TEMPLATE)
    for name in ("resources", "imagePullPolicy"):
        del template["spec"]["containers"][0][name]
    del template["spec"]["terminationGracePeriodSeconds"]
    del template["spec"]["securityContext"]["seccompProfile"]
    return template


def amounts(value):
    """Every amount of a template."""
    if isinstance(value, dict):
        for name, part in value.items():
            is_list = name in {"limits", "requests"} and isinstance(part, dict)
            yield from (found for found in part.values() if isinstance(found, str)) if is_list else amounts(part)
    elif isinstance(value, list):
        for part in value:
            yield from amounts(part)


@given(LIKELY | st.dictionaries(FIELDS, ANYTHING, max_size=4))
def test_a_merge_loses_nothing_of_the_operator_s_and_is_idempotent(spec):
    try:
        made = merged(spec)
    except PodTemplateError:
        return
    assert matches(kept(), made)
    assert made["spec"]["terminationGracePeriodSeconds"] >= 60
    assert violations(made) == []
    assert customised(made, PodTemplate(spec=spec), OURS) == made
    assert [canonical_amount(amount) for amount in amounts(made)] == list(amounts(made))
