"""Which test runs which commands of the pages, as written. test/unit/test_pages.py checks that none is left out."""

from __future__ import annotations

from pathlib import Path

from support.pages import TOP, Command, commands

_MEMORY = "test/unit/memory/test_docs.py"
_API_SERVER = "test/integration/test_pages.py"
_KIND = "test/e2e/test_pages.py"

RUN_BY = {
    "README.md": _KIND,
    "docs/NAMESPACE_AND_GITHUB_GUIDE.md": _API_SERVER,
    "docs/SQLITE_MEMORY_INTEGRATION.md": _KIND,
    "docs/agents.md": _MEMORY,
    "docs/backups.md": _MEMORY,
    "docs/batch.md": _MEMORY,
    "docs/client.md": _KIND,
    "docs/command-line.md": _MEMORY,
    "docs/grpc.md": "test/e2e/test_grpc.py",
    "docs/http-api.md": _MEMORY,
    "docs/in-a-cluster.md": _KIND,
    "docs/installing.md": _API_SERVER,
    "docs/mcp.md": "test/e2e/test_mcp_clients.py",
    "docs/memory-service.md": _MEMORY,
    "docs/migration.md": _MEMORY,
    "docs/operator-backups.md": _API_SERVER,
    "docs/operator-restores.md": _API_SERVER,
    "docs/operator.md": _API_SERVER,
    "docs/restoring.md": _MEMORY,
    "docs/search.md": _MEMORY,
    "docs/settings.md": _MEMORY,
    "docs/swarm-records.md": "test/unit/memory/swarm/test_docs.py",
    "docs/tokens.md": _MEMORY,
    "docs/troubleshooting.md": _KIND,
    "docs/upgrading.md": _API_SERVER,
    "docs/watch.md": _MEMORY,
    "docs/worst-day.md": _KIND,
}
"""The test of a page's commands."""

ELSEWHERE = {
    ("docs/agents.md", "kubectl"): "test/integration/test_agents.py",
    ("docs/operator.md", "kubectl exec"): _KIND,
    ("docs/operator.md", "kubectl logs"): _KIND,
    ("docs/mcp.md", "export SWARM_MEMORY_TOKEN="): _API_SERVER,
    ("docs/migration.md", "kubectl"): "test/e2e/test_migration.py",
    ("docs/tokens.md", "kubectl"): _API_SERVER,
}
"""The test of those commands of a page that begin so."""

NOT_RUN = {
    ("README.md", "make quickstart"): "makes a cluster: the end-to-end tests run on one that is made in the same way",
    ("README.md", "make check test"): "this is what runs",
    ("README.md", "docker push"): "needs a registry",
    ("README.md", "make deploy"): "its images are in no registry that the cluster knows; docs/installing.md has it too",
    ("docs/agents.md", "python3 examples/"): "needs a model: the example's own test has a server with a script",
    ("docs/operator-backups.md", "kubectl annotate"): "NAME is the reader's",
    ("docs/installing.md", "make docker-build IMG="): "README.md has it too, and its test has Docker",
    ("docs/installing.md", "make docker-buildx"): "needs a registry; test/unit/hack has its commands",
    ("docs/installing.md", "docker push"): "needs a registry",
    ("docs/restoring.md", "swarm-memory restore s3:"): "needs that bucket; test/integration/backups has one",
}
"""Commands that begin so and that no test runs as they are written, with the reason."""


def to_run(page: str, test: str) -> list[Command]:
    """The commands of a page, named by its path in the repository, that a test, named by `__file__`, has to run."""
    this = str(Path(test).relative_to(TOP))
    return [command for command in commands(page) if runner(page, command) == this]


def runner(page: str, command: Command) -> str | None:
    """The test of a command; None for one that is not run. Raises KeyError for the command of a page without a test."""
    if any(command.text.startswith(start) for of, start in NOT_RUN if of == page):
        return None
    others = (test for (of, start), test in ELSEWHERE.items() if of == page and command.text.startswith(start))
    return next(others, None) or RUN_BY[page]
