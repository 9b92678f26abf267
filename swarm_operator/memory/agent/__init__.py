"""Reference agent of a swarm: claims tasks from the memory, carries them out and completes them. It knows only HTTP.

- agent: the agent's life: registration, heartbeats, claims, and its end
- claim: one claimed task: its lease, the work on it, and its outcome
- work: what work is, and the work that needs nothing but the memory
- command: work that a program carries out
- candidate: how an agent becomes the queen of a swarm with a hive mind, and stays it
- patience: which errors pass when one waits
"""

from swarm_operator.memory.agent.agent import Agent, AgentError, AgentSettings
from swarm_operator.memory.agent.candidate import Candidate
from swarm_operator.memory.agent.command import CommandWork
from swarm_operator.memory.agent.work import MemoryWork, Work, WorkError

__all__ = ["Agent", "AgentError", "AgentSettings", "Candidate", "CommandWork", "MemoryWork", "Work", "WorkError"]
