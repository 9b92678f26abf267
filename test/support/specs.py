"""Specs of SwarmMemoryStores, good and bad, drawn from the schema that the API server has: the CRD's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

CRD = Path(__file__).resolve().parents[2] / "config/crd/bases/swarm.claudeflow.io_swarmmemorystores.yaml"
PROPERTIES: dict[str, dict[str, Any]] = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"][
    "openAPIV3Schema"
]["properties"]["spec"]["properties"]

RESTORE = "restoreFrom"
"""A field that keeps the pod from being made until a backup is restored."""
FIXED = ("type", "swarmId", "version", "storageClass", "storageSize", "backup", RESTORE)
"""Fields that cannot be changed, or only one way and only with a bound volume; and the place of backups, whose volume
stays once it was asked for."""
ASKING = ("backupInterval", "backupSchedule", "migrateFromLegacy")
"""Fields that ask for a place for backups without saying where that is."""

EXAMPLES = {
    "backup": [{}, {"volume": {}}, {"volume": {"size": "2Gi"}}, {"objectStore": {"url": "s3://bucket/prefix"}}],
    "autogrow": [{"max": "50Gi"}, {"threshold": 90, "step": "1Gi", "max": "20Gi"}],
    "access": [
        [],
        [{"serviceAccount": {"name": "reviewer"}, "access": "read", "memoryNamespaces": ["a", "b/c"]}],
        [
            {"serviceAccount": {"name": "agent", "namespace": "one"}, "access": "write"},
            {"serviceAccount": {"name": "agent", "namespace": "two"}, "access": "read"},
        ],
    ],
    "networkPolicy": [
        {},
        {"enabled": False},
        {"from": [], "metricsFrom": [{"namespaceSelector": {}}]},
        {"from": [{"podSelector": {"matchLabels": {"role": "agent"}}}, {"ipBlock": {"cidr": "10.0.0.0/16"}}]},
    ],
    "backupSchedule": ["0 3 * * *", "*/15 * * * mon-fri"],
    "embedder": [
        {},
        {"mode": "static"},
        {"mode": "http", "url": "https://h/v1", "model": "m", "width": 384, "timeout": "5m", "batch": 1},
        {"mode": "http", "url": "http://[::1]:8080", "model": "m", "width": 1, "caSecretRef": {"name": "ca"}},
        {"mode": "http", "url": "https://h/v1", "model": "a/b:c", "width": 4096, "secretRef": {"name": "keys"}},
    ],
    "hibernated": [False],
    "paused": [False],
    "podTemplate": [
        {},
        {"metadata": {"labels": {"team": "bees"}}, "spec": {"nodeSelector": {"disk": "ssd"}}},
        {"spec": {"containers": [{"name": "memory", "resources": {"requests": {"cpu": 0.5}}}]}},
    ],
    "tls": [{"mode": "off"}, {"mode": "auto"}, {"mode": "secret", "secretName": "mine"}],
    "backupTimeZone": ["UTC", "Europe/Berlin"],
    "restoreFrom": [
        {"backupRef": {"name": "b1"}},
        {"storeRef": {"name": "other"}},
        {"location": "file:///backups/other/b1"},
        {"location": "s3://bucket/prefix/other/b1", "destination": {"objectStore": {"url": "s3://bucket/prefix"}}},
    ],
}
"""Good values of fields whose rules the schema does not say, or not in one place."""

_NUMBERS = st.integers(1, 999).map(str) | st.sampled_from(["1.5", "0.1"])
QUANTITIES = st.builds("{}{}".format, _NUMBERS, st.sampled_from(["", "k", "M", "Mi", "G", "Gi", "Ti"]))
DURATIONS = st.builds("{}{}{}".format, _NUMBERS, st.sampled_from(["s", "m", "h"]), st.sampled_from(["1s", "1m30s"]))


def _good(name: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    # What the rules in CEL say is not in the schema's other words.
    if name == "storageSize":
        return QUANTITIES
    if name.endswith(("Interval", "Deadline")):
        return DURATIONS
    if name in EXAMPLES:
        return st.sampled_from(EXAMPLES[name])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "boolean":
        return st.booleans()
    if schema["type"] == "integer":
        ends = st.sampled_from([schema["minimum"], schema["maximum"]])
        return ends | st.integers(schema["minimum"], schema["maximum"])
    limit = schema["maxLength"]
    text = st.text() if "pattern" not in schema else st.from_regex(schema["pattern"], fullmatch=True)
    return text.filter(lambda text: schema.get("minLength", 0) <= len(text) <= limit)


def _complete(spec: dict[str, Any]) -> dict[str, Any]:
    # Backups are made by an interval or by a schedule.
    spec = {name: value for name, value in spec.items() if name != "backupInterval" or "backupSchedule" not in spec}
    return spec if "legacyDataPVC" in spec else {**spec, "migrateFromLegacy": False}


def good(*, fixed: dict[str, Any] | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """Specs that the API server must accept, each field there or not; `fixed` says what FIXED fields are."""
    fields = {name: _good(name, schema) for name, schema in PROPERTIES.items() if fixed is None or name not in FIXED}
    drawn = st.fixed_dictionaries({}, optional=fields).map(_complete)
    return drawn if fixed is None else drawn.map(lambda spec: {**spec, **fixed})


def walks(*, longest: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Some good specs of one store, one after the other."""
    walked = {name: _good(name, PROPERTIES[name]) for name in FIXED if name != RESTORE}
    fixed = st.fixed_dictionaries({}, optional=walked)
    return fixed.flatmap(lambda these: st.lists(_with_place(good(fixed=these)), min_size=2, max_size=longest))


def _with_place(specs: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Specs that ask for backups only if they say where: the first that asks would make a volume that stays."""
    return specs.map(lambda spec: {name: spec[name] for name in spec if "backup" in spec or name not in ASKING})


def _bad(name: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if schema["type"] == "boolean":
        return st.sampled_from(["true", "yes", 1, 0, [], {}])
    if schema["type"] == "integer":
        wrong = st.sampled_from(["1", "many", 1.5, True, [], {}])
        return wrong | st.integers(max_value=schema["minimum"] - 1) | st.integers(min_value=schema["maximum"] + 1)
    if name == "autogrow":
        limits = [{"max": "1Gi", "threshold": value} for value in (0, 9, 100)]
        return st.sampled_from([1, [], "10Gi", {}, {"max": "0"}, {"max": "1Gi", "step": "0Gi"}, *limits])
    if name == "networkPolicy":
        both = {"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}
        peers = [{}, both, {"ipBlock": {"cidr": "10.0.0.0/99"}}, {"podSelector": {"matchExpressions": [{"key": "a"}]}}]
        return st.sampled_from([1, [], "all", {"enabled": "no"}, *({"from": [peer]} for peer in peers)])
    if name == "backup":
        both = {"volume": {}, "objectStore": {"url": "s3://bucket/prefix"}}
        return st.sampled_from([1, True, [], "", both, {"objectStore": {"url": "ftp://x"}}, {"objectStore": {}}])
    if name == "podTemplate":
        return st.sampled_from([1, [], "x", {"spec": []}, {"spec": "x"}, {"metadata": {"labels": {"a": 1}}}])
    if name == "access":
        rule = {"serviceAccount": {"name": "a"}, "access": "read"}
        return st.sampled_from([1, {}, "all", [{}], [{**rule, "access": "admin"}], [rule, rule]])
    if name == "tls":
        return st.sampled_from([1, [], "auto", {"mode": "on"}, {"mode": "secret"}, {"mode": "auto", "secretName": "a"}])
    if name == "embedder":
        http = {"mode": "http", "url": "https://h/v1", "model": "m", "width": 384}
        missing = [
            {field: value for field, value in http.items() if field != name} for name in ("url", "model", "width")
        ]
        wrong = [{"url": "https://u:p@h/v1"}, {"url": "ftp://h"}, {"width": 0}, {"width": 4097}, {"timeout": "6m"}]
        wrong += [{"batch": 0}, {"secretRef": {}}, {"mode": "static"}]
        return st.sampled_from(
            [1, [], "static", {"mode": "on"}, {"mode": "static", "batch": 1}, {"secretRef": {"name": "a"}}]
            + missing
            + [http | each for each in wrong]
        )
    if name == RESTORE:
        two = {"backupRef": {"name": "b1"}, "storeRef": {"name": "other"}}
        elsewhere = {"location": "s3://a/s/b1", "destination": {"claimName": "c"}}
        return st.sampled_from([1, [], "b1", {}, two, elsewhere, {"location": "b1"}, {"backupRef": {"name": ""}}])
    wrong = st.sampled_from([1, True, [], {}])
    if "enum" in schema:
        return wrong | st.text().filter(lambda text: text not in schema["enum"])
    wrong |= st.just("a" * (schema["maxLength"] + 1))
    if "minLength" in schema:
        wrong |= st.just("")
    if "pattern" in schema:
        pattern = re.compile(schema["pattern"].removesuffix("$") + r"\Z")
        wrong |= st.text(min_size=1).filter(lambda text: not pattern.search(text))
    if name == "storageSize":
        wrong |= st.sampled_from(["0", "0Gi", "0.0", "8Ei", "9999999Ti", "-1Gi", "1e3", "10 Gi", "10gi", "Gi"])
    if name.endswith(("Interval", "Deadline")):
        wrong |= st.sampled_from(["0s", "1ms", "999ms", "5", "-5m", "1d", "m", "9999999999h", "5 m"])
    return wrong


def bad() -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    """A field, and a spec in which nothing but that field is wrong."""

    def of(name: str) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
        pairs = st.tuples(good(), _bad(name, PROPERTIES[name]))
        return pairs.map(lambda pair: (name, _without_source(name, _alone(name, {**pair[0], name: pair[1]}))))

    return st.sampled_from(list(PROPERTIES)).flatmap(of)


def _alone(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    # That there are two ways to say when is no fault of the field that is drawn here.
    other = {"backupInterval": "backupSchedule", "backupSchedule": "backupInterval"}.get(name)
    return {key: value for key, value in spec.items() if key != other}


def _without_source(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    # A missing source of a migration is no fault of the field that is drawn here.
    return spec if name == "migrateFromLegacy" else {**spec, "migrateFromLegacy": False}
