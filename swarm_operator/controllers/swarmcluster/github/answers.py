"""Reasons and messages of conditions for GitHub's answers. No answer is quoted: see GitHubError."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp

from swarm_operator.controllers.swarmcluster.github.errors import GitHubError

MAX_WAIT: Final = 3600.0
"""Seconds: the largest that is waited for what a server asks. GitHub's limits are counted by the hour."""
_MAX_SKEW: Final = 30.0
"""Seconds by which two clocks may differ without a word."""


def failure(response: aiohttp.ClientResponse, answer: Any, not_found: GitHubError, now: datetime) -> GitHubError:
    """Return the error of an answer that is none of success.

    Args:
        response: the answer's status and header.
        answer: its JSON.
        not_found: what status 404 means.
        now: the time by our clock; a wrong clock is a cause of refused signatures.
    """
    status, header = response.status, response.headers
    text = str(answer.get("message", "")).lower() if isinstance(answer, dict) else ""
    if status in (403, 429) and (status == 429 or _is_limit(header, text)):
        wait = _wait(header, now)
        return GitHubError("RateLimited", f"GitHub's rate limit is used up; {wait:.0f} s to wait", retry_after=wait)
    if status == 401:
        skew = _skew(header, now)
        if abs(skew) > _MAX_SKEW:
            direction = "ahead of" if skew > 0 else "behind"
            message = f"the operator's clock is {abs(skew):.0f} s {direction} GitHub's, which refuses its signatures"
            return GitHubError("ClockSkew", message)
        message = "GitHub refuses the App's signature: appID and the private key do not belong together"
        return GitHubError("AppRefused", message)
    if status == 403 and "suspended" in text:
        return GitHubError("InstallationSuspended", "the installation is suspended: its owner can lift that")
    if status == 403:
        return GitHubError("GitHubForbids", "GitHub does not let the App do this (403)")
    if status == 404:
        return not_found
    if status == 422 and "permission" in text:
        return GitHubError("PermissionsNotGranted", "the installation has not been granted all of permissions")
    if status == 422 and any(word in text for word in ("repository", "repositories")):
        message = "one of repositories does not exist, or the installation has no access to it"
        return GitHubError("RepositoryNotFound", message)
    if status >= 500 or status in (200, 201):
        return GitHubError("GitHubUnavailable", f"GitHub cannot answer now ({status})")
    return GitHubError("RequestRefused", f"GitHub refuses the request ({status})")


def unusable() -> GitHubError:
    """Return the error of an answer of success that does not have what it should."""
    return GitHubError("GitHubUnavailable", "the answer is not what GitHub's API sends; is apiURL right?")


def _is_limit(header: Mapping[str, str], text: str) -> bool:
    return header.get("X-RateLimit-Remaining") == "0" or "Retry-After" in header or "rate limit" in text


def _wait(header: Mapping[str, str], now: datetime) -> float:
    """Return the seconds for which the server asks to wait."""
    if seconds := _number(header.get("Retry-After")):
        return min(seconds, MAX_WAIT)
    if reset := _number(header.get("X-RateLimit-Reset")):
        # By the server's clock if the answer has its time: our clock may be wrong.
        return min(max(reset - (_date(header) or now).timestamp(), 1.0), MAX_WAIT)
    return 60.0


def _number(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdecimal() and len(text) < 16 else None


def _skew(header: Mapping[str, str], now: datetime) -> float:
    """Return the seconds by which our clock is ahead of the server's; 0 if the answer has no time."""
    theirs = _date(header)
    return (now - theirs).total_seconds() if theirs else 0.0


def _date(header: Mapping[str, str]) -> datetime | None:
    try:
        found = parsedate_to_datetime(header.get("Date", ""))
    except ValueError:
        return None
    return found if found.tzinfo else None
