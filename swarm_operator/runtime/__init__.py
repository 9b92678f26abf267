"""controller-runtime for asyncio: client, reflector, informer, cache, work queue, controller, manager.

It knows nothing of swarms and could be a separate library. docs/design/runtime.md lists its modules and shows how to
write a controller. Objects are plain JSON dicts throughout; a reconciler parses them into models where it wants types.
It behaves as Go's client-go and controller-runtime do. The docstring of each reproduced behaviour names its source.
"""

from swarm_operator.runtime.cache import Cache, CachedClient
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.controller import Controller, Reconciler, Result
from swarm_operator.runtime.delegated_auth import DelegatedAuth
from swarm_operator.runtime.errors import ApiError, ConflictError, ForbiddenError, NotFoundError, TerminalError
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.frozen import freeze
from swarm_operator.runtime.handlers import (
    enqueue_by_label,
    enqueue_by_labels,
    enqueue_owner,
    enqueue_self,
    spec_or_metadata_changed,
)
from swarm_operator.runtime.leader_election import LeaderElector
from swarm_operator.runtime.loop_lag import LoopMonitor
from swarm_operator.runtime.manager import Manager, TaskEndedError
from swarm_operator.runtime.metrics import Metrics, process_registry
from swarm_operator.runtime.resource import Key, Object, Resource, controller_of, key_of, owner_reference
from swarm_operator.runtime.runnable import Phase, Runnable
from swarm_operator.runtime.server import Server, health_app, metrics_app
from swarm_operator.runtime.serving_cert import ServingCertificate
from swarm_operator.runtime.store import Change

__all__ = [
    "ApiError",
    "Cache",
    "CachedClient",
    "Change",
    "Client",
    "Clock",
    "ConflictError",
    "Controller",
    "DelegatedAuth",
    "EventRecorder",
    "ForbiddenError",
    "Key",
    "LeaderElector",
    "LoopMonitor",
    "Manager",
    "Metrics",
    "NotFoundError",
    "Object",
    "Phase",
    "Reconciler",
    "Resource",
    "Result",
    "Runnable",
    "Server",
    "ServingCertificate",
    "SystemClock",
    "TaskEndedError",
    "TerminalError",
    "controller_of",
    "enqueue_by_label",
    "enqueue_by_labels",
    "enqueue_owner",
    "enqueue_self",
    "freeze",
    "health_app",
    "key_of",
    "load_config",
    "metrics_app",
    "owner_reference",
    "process_registry",
    "spec_or_metadata_changed",
]
