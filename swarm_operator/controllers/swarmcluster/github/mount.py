"""GitHub token in agents' pods: a file that the kubelet renews, and a git configuration that reads it.

git runs the helper for each operation, so a renewed token is used at once. The configuration takes the place of the
system's, which it includes: the user's own configuration, and the repository's, stay as they are.
"""

from __future__ import annotations

from typing import Final

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.api.v1alpha1.github import GitHubApp
from swarm_operator.controllers.swarmcluster.github.sources import CA_KEY
from swarm_operator.controllers.swarmcluster.github.token_secret import TOKEN_KEY, name
from swarm_operator.runtime.resource import Object

GIT_CONFIG: Final = "gitconfig"
"""Name of the file with the configuration."""
_DIR: Final = "/etc/swarm-github"
_VOLUME: Final = "github-token"


def volumes(cluster: SwarmCluster) -> list[Object]:
    """Return the volume of a cluster with a githubApp. Agents start without it while there is no token yet."""
    if cluster.spec.github_app is None:
        return []
    return [{"name": _VOLUME, "secret": {"secretName": name(cluster), "defaultMode": 0o440, "optional": True}}]


def mounts(cluster: SwarmCluster) -> list[Object]:
    """Return the mount of that volume."""
    return [{"name": _VOLUME, "mountPath": _DIR, "readOnly": True}] if cluster.spec.github_app else []


def environment(cluster: SwarmCluster, config_dir: str) -> dict[str, str]:
    """Return the variables of an agent.

    Args:
        cluster: the swarm.
        config_dir: the folder that has the file GIT_CONFIG.
    """
    if cluster.spec.github_app is None:
        return {}
    return {"GITHUB_TOKEN_FILE": f"{_DIR}/{TOKEN_KEY}", "GIT_CONFIG_SYSTEM": f"{config_dir}/{GIT_CONFIG}"}


def files(cluster: SwarmCluster) -> dict[str, str]:
    """Return the files that the agents' ConfigMap has besides its own."""
    app = cluster.spec.github_app
    return {GIT_CONFIG: git_config(app)} if app else {}


def git_config(app: GitHubApp, directory: str = _DIR) -> str:
    """Return a git configuration that takes the password for the server from the file with the token.

    Args:
        app: the App.
        directory: where the token is mounted.
    """
    token = f"{directory}/{TOKEN_KEY}"
    # A helper gets the operation as its last argument. It succeeds also if it has no output.
    helper = f"if test $1 = get && test -s {token}; then echo username=x-access-token; echo password=$(cat {token}); fi"
    lines = [
        "[include]",
        "\tpath = /etc/gitconfig",
        f'[credential "{app.server_url}"]',
        f'\thelper = "!f() {{ {helper}; }}; f"',
    ]
    if app.ca_secret_ref:
        lines += [f'[http "{app.server_url}"]', f"\tsslCAInfo = {directory}/{CA_KEY}"]
    return "\n".join(lines) + "\n"
