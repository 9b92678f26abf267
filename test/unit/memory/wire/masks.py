"""What is not the same from run to run, and the names that recordings have in its place.

Replaced are: times since 2020, durations, ids that the service makes up, ids of sessions and requests, ports, the
service's directory, sizes of the database's files, digests of backups, the versions of the service, of SQLite and of
pydantic. Cursors are sealed with a key of the service's own. An id has the same number wherever it occurs. Lengths are
kept only where what was replaced always has the same length. All else is compared as it is.
"""

import re

import swarm_operator

_TIME = re.compile(r"(?:20[2-9]\d|21\d\d)-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
_RIGHT_NOW = re.compile(r'("(?:exportedAt|started_at)":")([^"]+)')
_ID = re.compile(r"comm:\d{13}-[0-9a-f]{10}|(?<![0-9a-f])[0-9a-f]{12}-[0-9a-f]{12}(?![0-9a-f])")
_NOW = re.compile(r"(?<![0-9])1[789]\d{11}(?![0-9])")
_CURSOR = re.compile(r'((?:\\?"(?:next_cursor|cursor|nextCursor)\\?":\\?"|[?&]cursor=))([A-Za-z0-9_-]+)')
_NUMBERS = re.compile(
    r'(\\?"(?:duration_seconds|mean_ms|database_size_bytes|free_bytes|wal_size_bytes|volume_size_bytes'
    r"|volume_free_bytes|given_back_bytes|seconds|backup_bytes|lag|size_bytes|database_size_bytes_before"
    r'|database_size_bytes_after)\\?":)-?\d+(?:\.\d+)?(?:e-?\d+)?'
)
_BACKUP_SIZE = re.compile(r'("size":|"bytes":)\d+(?=,"entries":|,"entries_new":null)')
_VERSIONS = re.compile(r'(\\?"(?:sqlite_version)\\?":\\?")([0-9.]+)')
_OWN_VERSION = re.compile(r'(\\?"version\\?":\\?")' + re.escape(swarm_operator.__version__) + r'(?=\\?")')
_PORT = re.compile(r"(127\.0\.0\.1|localhost):\d{4,5}")
_PYDANTIC = re.compile(r"(errors\.pydantic\.dev/)[0-9.]+")
_SHA256 = re.compile(r'(\\?"sha256\\?":\\?")[0-9a-f]{64}')
_REPLACED = {
    _NUMBERS: r"\1<number>",
    _BACKUP_SIZE: r"\1<number>",
    _VERSIONS: r"\1<version>",
    _OWN_VERSION: r"\1<version>",
    _PORT: r"\1:<port>",
    _SHA256: r"\1<sha256>",
    _PYDANTIC: r"\1<version>",
}
"""Of no fixed length."""


class Masks:
    """Replaces it in one scenario.

    Args:
        directory: of the service; its name is replaced.
        times: whether times and ids are replaced. Those of a recorded database are not; the time of an answer is.
    """

    def __init__(self, directory, *, times=True):
        self._directory = str(directory)
        self.times = times
        self._ids = {}
        self._sessions = {}

    def text(self, text):
        """The text, and whether its length was kept."""
        masked = _CURSOR.sub(self._cursor, text.replace(self._directory, "<directory>"))
        masked = self._fixed(masked)
        same = len(masked) == len(text)
        for pattern, name in _REPLACED.items():
            masked, count = pattern.subn(name, masked)
            same = same and not count
        return masked, same

    def session(self, found):
        """The name of an id of a session."""
        return self._sessions.setdefault(found, f"<session-{len(self._sessions) + 1}>")

    def _fixed(self, text):
        """Replacements that are as long as what they replace."""
        if not self.times:
            return _RIGHT_NOW.sub(lambda match: match[1] + _zeros(match[2]), text)
        text = _TIME.sub(lambda match: _zeros(match[0]), text)
        text = _ID.sub(lambda match: self._numbered(match[0]), text)
        return _NOW.sub("0" * 13, text)

    def _numbered(self, found):
        """The same length, and the same number for the same id."""
        number = self._ids.setdefault(found, len(self._ids) + 1)
        return f"<id-{number}>".ljust(len(found), ".")

    def _cursor(self, match):
        """The same length."""
        return match[1] + "<cursor>".ljust(len(match[2]), ".")


def replaced(text, kept):
    """The text of a step with what was kept in place of `<<name>>`."""
    return re.sub(r"<<([\w-]+)>>", lambda match: kept[match[1]], text)


def _zeros(time):
    return re.sub(r"\d", "0", time)
