"""A real git clones with what an agent mounts, from git's own server, which checks the token."""

import asyncio
import os
import subprocess

import pytest
from support.github import APP, private_key

from swarm_operator.api.v1alpha1.github import GitHubApp
from swarm_operator.controllers.swarmcluster.github.api import Revocation, Server, TokenRequest
from swarm_operator.controllers.swarmcluster.github.mount import git_config


@pytest.fixture
def app(github):
    fields = {"appID": APP, "privateKeyRef": {"name": "app"}, "apiURL": github.api_url, "caSecretRef": {"name": "ca"}}
    return GitHubApp.model_validate(fields)


@pytest.fixture
def mounted(tmp_path, github, app):
    """The folders of an agent, as the kubelet makes them."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "ca.crt").write_text(github.ca)
    (folder / "gitconfig").write_text(git_config(app, str(folder)))
    return folder


@pytest.fixture
async def mint(github, api, mounted):
    async def token(*repositories):
        request = TokenRequest(Server(github.api_url, github.ca), APP, private_key(), None, repositories, ())
        minted = await api.mint(request)
        (mounted / "token").write_text(minted.token)
        return minted.token

    return token


@pytest.fixture
def git(tmp_path, mounted):
    """Run git as an agent does. Returns its exit code and what it said."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GIT_CONFIG_SYSTEM": str(mounted / "gitconfig"),
        "GIT_TERMINAL_PROMPT": "0",
    }

    async def run(*arguments, text=""):
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "git", *arguments, env=environment, cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT
        )
        said, _ = await process.communicate(text.encode())
        return process.returncode, said.decode()

    return run


@pytest.fixture
async def repository(git, github):
    """A repository with one commit on the server."""

    async def make(name):
        path = str(github.repositories / f"{name}.git")
        for arguments in (
            ("init", "--bare", "--quiet", "--initial-branch=main", path),
            ("init", "--quiet", "--initial-branch=main", "source"),
            (
                *("-C", "source", "-c", "user.name=n", "-c", "user.email=e@example.com"),
                *("commit", "--allow-empty", "--quiet", "--message=honey"),
            ),
            ("-C", "source", "push", "--quiet", path, "main"),
        ):
            assert await git(*arguments) == (0, "")
        return f"https://{github.host}/bees/{name}.git"

    return make


async def test_an_agent_clones_and_goes_on_with_a_renewed_token(git, repository, mint, github, api):
    url = await repository("hive")
    code, said = await git("clone", "--quiet", url, "clone")
    assert code, "without a token nobody is let in"
    assert "could not read Username" in said
    first = await mint("bees/hive")
    assert await git("clone", "--quiet", url, "clone") == (0, "")
    assert await git("-C", "clone", "log", "--format=%s") == (0, "honey\n")
    await mint("bees/hive")
    await api.revoke(Revocation(Server(github.api_url, github.ca), first))
    assert await git("-C", "clone", "fetch", "--quiet") == (0, "")


async def test_a_token_of_another_repository_does_not_open_this_one(git, repository, mint):
    url = await repository("hive")
    await mint("bees/honey")
    code, said = await git("clone", "--quiet", url, "clone")
    assert (code, "not found" in said) == (128, True)


async def test_the_token_is_for_the_app_s_server_only(git, mint, github):
    token = await mint()
    code, said = await git("credential", "fill", text=f"protocol=https\nhost={github.host}\n\n")
    assert (code, f"password={token}\n" in said) == (0, True)
    for other in ("protocol=https\nhost=github.com\n\n", f"protocol=http\nhost={github.host}\n\n"):
        code, said = await git("credential", "fill", text=other)
        assert (code != 0, token in said) == (True, False)


@pytest.mark.parametrize(
    ("api_url", "server"),
    [
        ("https://api.github.com", "https://github.com"),
        ("https://api.github.com/", "https://github.com"),
        ("https://api.bees.ghe.com", "https://bees.ghe.com"),
        ("https://ghe.example:8443/api/v3", "https://ghe.example:8443"),
        ("https://api.example/api/v3/", "https://api.example"),
    ],
)
def test_the_server_of_an_api_is_where_its_repositories_are(app, api_url, server):
    assert app.model_copy(update={"api_url": api_url}).server_url == server
