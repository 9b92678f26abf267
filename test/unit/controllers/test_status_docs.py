"""docs/status-conditions.md has every condition and every reason that the code has, and no others."""

import ast
import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from support.pages import DOCS

from swarm_operator import controllers
from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.cmd.memory.backups import NO_DATABASE
from swarm_operator.controllers.common import conditions, kinds
from swarm_operator.controllers.common.conditions import reason_of
from swarm_operator.controllers.common.errors import NameTakenError, explain
from swarm_operator.controllers.common.reconciliation import PAUSED
from swarm_operator.controllers.swarmcluster import SwarmClusterReconciler
from swarm_operator.controllers.swarmcluster.agents.step import CONDITION as AGENTS_READY
from swarm_operator.controllers.swarmcluster.github.step import CONDITION as GITHUB_TOKEN_READY
from swarm_operator.controllers.swarmmemorybackup import SwarmMemoryBackupReconciler
from swarm_operator.controllers.swarmmemorybackup.service import HttpBackupService
from swarm_operator.controllers.swarmmemoryrestore import SwarmMemoryRestoreReconciler
from swarm_operator.controllers.swarmmemoryrestore.service import HttpRestoreService
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.controllers.swarmmemorystore.stats import Observer
from swarm_operator.memory.core.errors import DiskFullError, NewerSchemaError
from swarm_operator.memory.transfer.backups import errors
from swarm_operator.memory.transfer.backups.errors import DestinationError
from swarm_operator.memory.transfer.restores.states import Phase as RestorePhase
from swarm_operator.runtime.errors import ApiError, ForbiddenError, InvalidError

FOLDER = Path(controllers.__file__).parent
TESTS = Path(__file__).parents[2]
OUTCOMES = {"done": 0, "waiting": 0, "failed": 0, "SourceError": 0, "Outcome": 1, "_wait": 1, "_fail": 1, "_refused": 0}
OUTCOMES |= {"GitHubError": 0, "BadCertificateError": 0}  # become one
"""Functions that take a reason, with its place among their arguments."""
NOT_SHOWN = {"Deleted", "JobSucceeded"}
"""Reasons of outcomes of which no condition is made: the object is gone, or waits for nothing more."""
OF_SOME_CLUSTERS = {AGENTS_READY, GITHUB_TOKEN_READY}
OF_SOME_STORES = {"Restored", "BackupStorageReady", "BackupSucceeded", "Upgraded", "PodTemplateApplied", "Migrated"}
OF_SOME_STORES |= {"CertificateReady", "EmbedderReady"}


def rows():
    """Sections of the page, each with the cells of its table's rows."""
    found = {}
    for section in re.split(r"^## ", (DOCS / "status-conditions.md").read_text(), flags=re.MULTILINE)[1:]:
        lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
        found[section.partition("\n")[0]] = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return found


def reasons_in_docs():
    cells = [row[2] for table in rows().values() for row in table]
    named = {reason for cell in cells if cell and not cell.startswith("*") for reason in cell.split(", ")}
    return {reason for reason in named if not reason.startswith("*")}


def reasons_of(path):
    """Constants that a module gives to an outcome or a condition as its reason."""
    tree = ast.parse(path.read_text())
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "id", "") or getattr(call.func, "attr", "")
        place = OUTCOMES.get(name)
        given = [word.value for word in call.keywords if word.arg == "reason"]
        for node in given if place is None else call.args[place : place + 1]:
            if isinstance(node, ast.Constant) and node.value:
                yield node.value
            elif isinstance(node, ast.Name) and node.id.isupper():
                yield {"PENDING": conditions.PENDING, "PAUSED": PAUSED}[node.id]


def reasons_of_errors():
    with pytest.raises(ValidationError) as invalid:
        SwarmMemoryStore.model_validate({})
    errors = [
        invalid.value,
        NameTakenError(kinds.SERVICE, "x"),
        *(kind("") for kind in (ApiError, ForbiddenError, InvalidError)),
    ]
    return {explain(error)[0] for error in errors}


def reasons_of_the_service():
    """What the memory service, or its image in a Job, says of a backup or a restore, and how far it is."""
    failures = [
        error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, DestinationError)
    ]
    others = (errors.BackupDamagedError, errors.BackupInterruptedError, errors.BackupNotFoundError)
    lasting = (errors.DatabaseExistsError, NewerSchemaError, DiskFullError)
    codes = {error.code for error in (*failures, *others, *lasting)} | {"", NO_DATABASE}
    restoring = {phase.value for phase in RestorePhase if not phase.ended}
    return (
        {"AnotherBackupRuns", "ServiceBusy", "Running", "Verifying"} | {reason_of(code) for code in codes} | restoring
    )


def test_reasons_are_the_same_in_the_code_and_in_the_docs():
    found = {reason for path in FOLDER.rglob("*.py") for reason in reasons_of(path)} | reasons_of_errors()
    assert len(found) > 20
    assert found - reasons_in_docs() == NOT_SHOWN
    assert reasons_in_docs() - found == reasons_of_the_service() - found


def events_of(path):
    """Reasons of the events that a module emits without a condition."""
    for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
        if getattr(call.func, "attr", "") == "event" and isinstance(call.args[2], ast.Constant):
            yield call.args[2].value


def test_events_are_the_same_in_the_code_and_in_the_docs():
    section = (DOCS / "status-conditions.md").read_text().partition("\n## Events\n")[2]
    of_conditions, *items = re.split(r"^- ", section, flags=re.MULTILINE)
    listed = {name for item in items for name in re.findall(r"`(\w+)`", item.partition(":")[0])}
    assert listed == {event for path in FOLDER.rglob("*.py") for event in events_of(path)}
    assert set(re.findall(r"\w+", of_conditions)) >= conditions.EVENT_CONDITIONS


def test_every_reason_is_expected_by_a_test():
    """As far as a reader of the tests can tell: each is named in a text of theirs."""
    tests = [path for path in TESTS.rglob("test_*.py") if path != Path(__file__)]
    trees = [ast.parse(path.read_text()) for path in tests]
    texts = [
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert reasons_in_docs() - set(re.findall(r"\w+", " ".join(texts))) == set()


@pytest.fixture
def types(caching, recorder):
    """Types of the conditions of a reconciler."""

    def of(reconciler):
        return {type_ for step in reconciler.steps for type_ in (step.condition, *step.reports) if type_}

    store = SwarmMemoryStoreReconciler(caching, recorder, Observer(""), "image")
    backup = SwarmMemoryBackupReconciler(caching, recorder, HttpBackupService(""), "image", most=1, deadline=1.0)
    return {
        "SwarmMemoryStore": of(store) | OF_SOME_STORES | {PAUSED},
        "SwarmMemoryBackup": of(backup),
        "SwarmMemoryRestore": of(SwarmMemoryRestoreReconciler(caching, recorder, HttpRestoreService(""))),
        "SwarmCluster": of(SwarmClusterReconciler(caching, recorder, image="image")) | OF_SOME_CLUSTERS | {PAUSED},
    }


@pytest.mark.parametrize("kind", ["SwarmMemoryStore", "SwarmMemoryBackup", "SwarmMemoryRestore", "SwarmCluster"])
def test_conditions_are_the_same_in_the_code_and_in_the_docs(types, kind):
    assert {row[0] for row in rows()[kind] if not row[0].startswith("*")} == types[kind]


def test_reasons_of_waiting_and_conditions_with_events_exist(types):
    assert reasons_in_docs() >= conditions.WAITING_REASONS
    assert types["SwarmMemoryStore"] | types["SwarmCluster"] >= conditions.EVENT_CONDITIONS
