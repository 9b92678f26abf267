"""Fields of a GitHub App whose installation tokens a swarm's agents use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from swarm_operator.api.quantity import Interval
from swarm_operator.api.v1alpha1.backups import ObjectReference
from swarm_operator.api.v1alpha1.common import SUBDOMAIN, ApiModel, StatusModel, Timestamp, at_most, rule
from swarm_operator.api.v1alpha1.namespaces import NamespaceName

GITHUB_API_URL = "https://api.github.com"
"""URL of GitHub's own API."""
MAX_REPOSITORIES = 100

_ID = Field(ge=1, le=2**53, json_schema_extra={"format": "int64"})
_OWNER = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"
_API_URL = r"^https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?$"

Repository = Annotated[
    str,
    Field(
        description="A repository: OWNER/NAME.",
        min_length=3,
        max_length=201,
        pattern=rf"^{_OWNER}/[A-Za-z0-9._-]{{1,100}}$",
    ),
]


class PrivateKeyReference(ApiModel):
    """The Secret with an App's private key."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=SUBDOMAIN)]
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = "private-key.pem"
    """Key in it that holds the private key, in PEM as GitHub makes it."""
    namespace: NamespaceName | None = None
    """Namespace of the Secret. Default: the cluster's own. A Secret in another namespace is used only if its label
    swarm.claudeflow.io/allow-clusters-from names the cluster's namespace."""


class GitHubApp(ApiModel):
    """A GitHub App. The operator mints tokens of an installation of it, and renews them."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                at_most("tokenTTL", "1h"),
                rule(
                    "!self.tokenTTL.matches(r'^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$')"
                    " || duration(self.tokenTTL) >= duration('5m')",
                    "must be at least 5m",
                    ".tokenTTL",
                ),
                rule(
                    "!has(self.repositories) || self.repositories.all(r,"
                    " r.startsWith(self.repositories[0].split('/')[0] + '/'))",
                    "must all have the same owner: a token is of one installation",
                    ".repositories",
                ),
                rule(
                    "!has(self.permissions) || (size(self.permissions) > 0"
                    " && self.permissions.all(name, name.matches('^[a-z][a-z_]{0,63}$')))",
                    "must have names of GitHub's permissions, one at least, such as contents or pull_requests",
                    ".permissions",
                ),
            ]
        }
    )

    app_id: Annotated[int, _ID] = Field(alias="appID")
    """The App's id."""
    private_key_ref: PrivateKeyReference
    """The App's private key."""
    installation_id: Annotated[int, _ID] | None = Field(default=None, alias="installationID")
    """The installation. Default: the one that has the first of the repositories; without repositories the App's only
    one."""
    repositories: Annotated[list[Repository], Field(min_length=1, max_length=MAX_REPOSITORIES)] | None = None
    """Repositories that a token can be used for. Default: all of the installation."""
    permissions: Annotated[dict[str, Literal["read", "write", "admin"]], Field(max_length=64)] | None = None
    """Permissions of a token. Default: all of the installation."""
    token_ttl: Interval = Field(default="45m", alias="tokenTTL")
    """Age at which a token is replaced, from 5m to 1h. GitHub's tokens last an hour. Each is replaced after 50 minutes
    at the latest, and up to a tenth earlier, which spreads the requests of many clusters."""
    api_url: Annotated[str, Field(max_length=255, pattern=_API_URL)] = Field(default=GITHUB_API_URL, alias="apiURL")
    """URL of the API. For GitHub Enterprise Server https://HOST/api/v3."""
    ca_secret_ref: ObjectReference | None = None
    """Secret with the key ca.crt: certificates of the authorities that the server's certificate is checked with, by the
    operator and by git in the agents. Default: those of the operator's and the agents' images."""

    @property
    def server_url(self) -> str:
        """Return the URL of the server below which its repositories are, as git clones them."""
        host, _, path = self.api_url.removeprefix("https://").partition("/")
        # An Enterprise Server has its API below /api/v3, all others on a separate host.
        return f"https://{host if path else host.removeprefix('api.')}"


class GitHubTokenStatus(StatusModel):
    """Observed state of the token in the Secret. The token itself is nowhere else."""

    expires_at: Timestamp | None = None
    """Time when it expires, if it is not replaced before."""
    rotated_at: Timestamp | None = None
    """Time when it was minted."""
