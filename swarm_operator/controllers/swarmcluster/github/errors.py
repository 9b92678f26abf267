"""Why there is no GitHub token, or why one could not be revoked."""

from __future__ import annotations


class GitHubError(Exception):
    """A failure that a condition reports.

    The message never quotes an answer of the server, which may repeat what was sent to it.

    Args:
        reason: reason of the condition.
        message: message of the condition.
        retry_after: seconds for which the server asks to wait.
    """

    def __init__(self, reason: str, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after
