"""One pass of a reconciler over one object: a tuple of steps, what they share, and their outcomes.

A step is one concern, such as a volume or a Service. Each step returns an Outcome; conditions, phase and the time of
the next pass are derived from the outcomes. A failed step does not stop the pass: only steps that need it are skipped,
and the condition Ready reports every failure.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import structlog
from pydantic import ValidationError

from swarm_operator.api.v1alpha1.common import ApiModel
from swarm_operator.controllers.common import labels
from swarm_operator.controllers.common.conditions import Conditions, emit_event
from swarm_operator.controllers.common.errors import REPORTABLE_ERRORS, NameTakenError, StepError, ends_pass, explain
from swarm_operator.runtime import handlers
from swarm_operator.runtime.cache import CachedClient
from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.controller import Controller, Result
from swarm_operator.runtime.errors import ApiError, ForbiddenError, TerminalError
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.resource import Key, Object, Resource, key_of

log = structlog.get_logger(__name__)

Model = TypeVar("Model", bound=ApiModel)

NAME_TAKEN_INTERVAL = 60.0
"""Seconds until the next check whether a taken name is free: objects that are not ours send no event."""


PAUSED = "Paused"
"""Type and reason of the condition of a paused object; other objects lack it."""

RECONCILING, STALLED = "Reconciling", "Stalled"
"""Types of the conditions by which kstatus, and so Flux and Argo CD, distinguish progress from failure:
https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md. They are there only while True."""

LASTING = 10
"""Failures in a row after which any error is reported: with the queue's delays they take 5 seconds."""

_FAILED = "Error"
"""Phase of an object with a problem."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a step. Use `done`, `waiting` or `failed` to make one."""

    phase: str
    """Phase of the object if this outcome decides it: Ready, Initializing or Error."""
    reason: str = ""
    message: str = ""
    requeue_after: float = 0.0
    """Seconds until the next pass at the latest; 0 waits for a change."""
    blocks: bool = False
    """Whether the steps that need this one are skipped."""

    @property
    def is_done(self) -> bool:
        """Return whether the concern is as wanted."""
        return self.phase == "Ready"


def done(reason: str = "", message: str = "", *, requeue_after: float = 0.0) -> Outcome:
    """Return the outcome of a concern that is as wanted."""
    return Outcome("Ready", reason, message, requeue_after)


def waiting(reason: str, message: str, *, blocks: bool = False, requeue_after: float = 0.0) -> Outcome:
    """Return the outcome of a concern that makes progress without a problem."""
    return Outcome("Initializing", reason, message, requeue_after, blocks)


def failed(reason: str, message: str, *, blocks: bool = False, requeue_after: float = 0.0) -> Outcome:
    """Return the outcome of a concern that has a problem."""
    return Outcome(_FAILED, reason, message, requeue_after, blocks)


@dataclass(slots=True)
class Reconciliation(Generic[Model]):
    """One pass over one object. Steps read from it and write to it."""

    resource: Resource
    obj: Object
    """The object as read from the cache: shared, never changed."""
    client: CachedClient
    recorder: EventRecorder
    clock: Clock
    parsed: Model = field(init=False)
    """The object as its model."""
    conditions: Conditions = field(init=False)
    status: dict[str, Any] = field(default_factory=dict)
    """Status fields that the steps have found, besides conditions; None removes a field. A phase in it replaces the one
    that follows from the condition Ready, unless an error is reported."""
    children: dict[tuple[Resource, str], Object] = field(default_factory=dict, repr=False)
    """The children that the steps have ensured, by kind and name. Secrets are among them: never log this."""
    outcomes: dict[type[Step[Model]], Outcome] = field(default_factory=dict)
    """Outcomes of the steps so far."""
    errors: list[StepError | ValidationError] = field(default_factory=list)
    """Errors so far, in the order of the steps."""
    released: bool = False
    """Whether our finalizer was removed. The object may then be deleted, so no status is written."""

    def __post_init__(self) -> None:
        self.conditions = Conditions(self.obj, self.clock)

    def record_error(self, error: StepError) -> None:
        """Record the failure of one child, so that the pass continues with the others.

        Raises:
            ApiError: `error` itself, if it is not about one child and the pass must end.
        """
        if isinstance(error, ApiError) and ends_pass(error):
            raise error
        self.errors.append(error)

    def set_condition(self, type: str, outcome: Outcome) -> None:  # noqa: A002 - the API's word
        """Set a condition from an outcome."""
        self.conditions.set(type, status=outcome.is_done, reason=outcome.reason, message=outcome.message)

    def set_ready(self, outcome: Outcome) -> None:
        """Set the condition Ready from an outcome, and with it Reconciling or Stalled."""
        self.set_condition("Ready", outcome)
        is_failed = outcome.phase == _FAILED
        for type_, holds in ((STALLED, is_failed), (RECONCILING, not outcome.is_done and not is_failed)):
            if holds:
                self.conditions.set(type_, status=True, reason=outcome.reason, message=outcome.message)
            else:
                self.conditions.remove(type_)

    async def write_status(self, status: dict[str, Any]) -> None:
        """Apply the status if it differs from the stored one, and emit events of the changed conditions.

        Args:
            status: the fields besides conditions and observedGeneration; fields that are None are left out.
        """
        metadata = self.obj["metadata"]
        wanted = {name: value for name, value in status.items() if value is not None}
        wanted["observedGeneration"] = metadata["generation"]
        wanted["conditions"] = self.conditions.render()
        if wanted == (self.obj.get("status") or {}):
            return
        body = {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            # The uid makes the write fail for a newer object of the same name.
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "status": wanted,
        }
        await self.client.apply(self.resource, body, field_manager=labels.FIELD_MANAGER, subresource="status")
        for condition in self.conditions.changed():
            emit_event(self.recorder, self.obj, condition)


class Step(ABC, Generic[Model]):
    """One concern of a reconciler."""

    condition: ClassVar[str] = ""
    """Type of the condition that the outcome decides; several steps may decide Ready. Empty for none."""
    reports: ClassVar[tuple[str, ...]] = ()
    """Types of further conditions, which the step sets itself."""
    needs: ClassVar[tuple[type[Step[Any]], ...]] = ()
    """Earlier steps without which this one cannot run."""
    owns: ClassVar[tuple[Resource, ...]] = ()
    """Kinds of the children; a change of a child enqueues its owner."""

    @abstractmethod
    async def run(self, r: Reconciliation[Model]) -> Outcome:
        """Bring the concern one step closer to what the object asks for.

        Raises:
            NameTakenError, ApiError: a child cannot be made; the steps that need this one are skipped.
        """

    def forget(self, key: Key) -> None:
        """Forget the state of a deleted object."""


@dataclass(slots=True)
class StepReconciler(Generic[Model]):
    """A reconciler made of steps. See runtime.controller.Reconciler."""

    resource: Resource
    model: type[Model]
    steps: tuple[Step[Model], ...]
    """The steps in the order in which they run; at least one decides the condition Ready."""
    client: CachedClient
    recorder: EventRecorder
    clock: Clock | None = None
    """The time; None for the system's."""
    failures: Callable[[Key], int] = field(default=lambda _: 0, init=False)
    """Returns the number of passes over an object, before this one, that failed in a row."""
    finalizers: tuple[str, ...] = ()
    """Finalizers that steps add; empty for a kind without a cleanup."""
    cleanup: tuple[Step[Model], ...] = ()
    """Steps that run in place of `steps` while the object is being deleted and has one of the finalizers. One of them
    decides the condition Ready and finally removes the finalizers."""

    def set_up(self, controller: Controller) -> None:
        """Watch the kind itself and the children of all steps, and count failures as the controller's queue does."""
        self.failures = controller.queue.failures
        controller.watch(self.resource, predicate=handlers.spec_or_metadata_changed)
        for child in dict.fromkeys(kind for step in (*self.steps, *self.cleanup) for kind in step.owns):
            controller.watch(child, handlers.enqueue_owner(self.resource))

    async def reconcile(self, key: Key) -> Result:
        """Run one pass. See runtime.controller.Reconciler.

        Raises:
            TerminalError: only a change of the object can help.
            ApiError: a child failed and is tried again with backoff: a quota or a permission may be granted.
        """
        obj = self.client.get(self.resource, key)
        deleted = obj is None or bool(obj["metadata"].get("deletionTimestamp"))
        if deleted:
            for step in self.steps:
                step.forget(key)
        # Owner references delete the children of a deleted object.
        if obj is None or (deleted and set(self.finalizers).isdisjoint(obj["metadata"].get("finalizers") or ())):
            for step in self.cleanup:
                step.forget(key)
            return Result()
        steps = self.cleanup if deleted else self.steps
        r = Reconciliation[Model](self.resource, obj, self.client, self.recorder, self.clock or SystemClock())
        if not deleted and (obj.get("spec") or {}).get("paused"):
            return await self._pause(r)
        r.conditions.remove(PAUSED)
        try:
            r.parsed = self.model.model_validate(obj)
        except ValidationError as error:
            r.errors.append(error)
            return await self._conclude(r, steps)
        try:
            await self._run_steps(r, steps)
        except ForbiddenError as error:
            if not error.namespace_terminating:
                raise
            log.info("the namespace is being deleted; no object can be created in it")
            return Result()  # the object itself is deleted next
        return await self._conclude(r, steps)

    async def _pause(self, r: Reconciliation[Model]) -> Result:
        """Report that nothing is done. The rest of the status stays as it was when the pause began."""
        message = "spec.paused is true: the operator changes nothing, and the status is that from before the pause"
        r.conditions.set(PAUSED, status=True, reason=PAUSED, message=message)
        await r.write_status(r.obj.get("status") or {})
        return Result()

    async def _run_steps(self, r: Reconciliation[Model], steps: tuple[Step[Model], ...]) -> None:
        for step in steps:
            blocking = [r.outcomes[need] for need in step.needs if r.outcomes[need].blocks]
            if blocking:
                r.outcomes[type(step)] = blocking[0]
                continue
            try:
                outcome = await step.run(r)
            except (ApiError, NameTakenError) as error:
                r.record_error(error)
                outcome = failed(*explain(error), blocks=True)
            else:
                if step.condition not in {"", "Ready"}:
                    r.set_condition(step.condition, outcome)
            r.outcomes[type(step)] = outcome

    async def _conclude(self, r: Reconciliation[Model], steps: tuple[Step[Model], ...]) -> Result:
        """Write the status, then raise the first error to retry, or return the time of the next pass."""
        if r.released:
            return Result()
        for error in r.errors[1:]:
            log.warning("another child failed too", error=str(error))
        lasting = self.failures(key_of(r.obj)) + 1 >= LASTING
        reported = [explain(error) for error in r.errors if lasting or isinstance(error, REPORTABLE_ERRORS)]
        if reported:
            ready = failed(reported[0][0], "; ".join(message for _, message in reported))
        else:
            deciding = [r.outcomes[type(step)] for step in steps if step.condition == "Ready"]
            ready = next((outcome for outcome in deciding if not outcome.is_done), deciding[-1])
        # Fields of steps that could not run keep their values.
        skipped = reported or any(outcome.blocks for outcome in r.outcomes.values())
        status = {**(r.obj.get("status") or {}), **r.status} if skipped else r.status
        if reported or not r.errors:
            r.set_ready(ready)
            r.conditions.complete(type_ for step in steps for type_ in (step.condition, *step.reports) if type_)
            phase = ready.phase if reported else r.status.get("phase", ready.phase)
            await r.write_status({**status, "phase": phase})
        for error in r.errors:
            if isinstance(error, ApiError):
                raise error
            if isinstance(error, ValidationError):
                raise TerminalError(explain(error)[1]) from error
        delays = [outcome.requeue_after for outcome in r.outcomes.values() if outcome.requeue_after]
        if reported:
            delays.append(NAME_TAKEN_INTERVAL)
        return Result(requeue_after=min(delays, default=0.0))
