"""Reference agent of a swarm: claims tasks from the memory, carries them out and completes them. It knows only HTTP.

- agent: registration, heartbeats, claims and the end of an agent
- claim: one claimed task: its lease, the work on it, and its outcome
- work: the interface of work, and work that needs only the memory
- command: work done by a program
- candidate: election of an agent as the queen of a swarm with a hive mind
- patience: transient errors of the memory, and retries until they end
"""

from swarm_operator.memory.agent.agent import Agent, AgentError, AgentSettings
from swarm_operator.memory.agent.candidate import Candidate
from swarm_operator.memory.agent.command import CommandWork
from swarm_operator.memory.agent.work import MemoryWork, Work, WorkError

__all__ = ["Agent", "AgentError", "AgentSettings", "Candidate", "CommandWork", "MemoryWork", "Work", "WorkError"]
