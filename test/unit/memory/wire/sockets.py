"""HTTP on a bare socket: the bytes of an answer as they were sent, but for the frames of a chunked body."""

import contextlib
import socket


class Connection:
    """One connection, for one request."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._read = b""
        self._plain = b""
        self.chunked = False
        self.ended = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, raw):
        """A service may answer and close before it has read everything."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(raw)

    def _more(self):
        try:
            piece = self._socket.recv(65536)
        except ConnectionResetError:
            piece = b""
        self._read += piece
        return bool(piece)

    def head(self):
        """The status line and the header lines."""
        while b"\r\n\r\n" not in self._read:
            assert self._more(), f"the service hung up: {self._read!r}"
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.chunked = any(line.lower() == "transfer-encoding: chunked" for line in lines)
        return lines

    def body(self, lines, method):
        """The whole body."""
        if method == "HEAD" or lines[0].split()[1] in {"204", "304"}:
            return b""
        if self.chunked:
            while self._chunk():
                pass
            return self._plain
        length = next((int(line[15:]) for line in lines if line.lower().startswith("content-length:")), None)
        while (length is None or len(self._read) < length) and self._more():
            pass
        return self._read

    def event(self):
        """The next event of a stream: all up to an empty line; b"" at the end."""
        while True:
            for end in (b"\n\n", b"\r\n\r\n"):
                if end in self._plain:
                    event, _, self._plain = self._plain.partition(end)
                    return event + end
            if not self._chunk():
                return b""

    def _chunk(self):
        while b"\r\n" not in self._read:
            assert self._more(), "the service hung up in the middle of a chunked body"
        size, _, rest = self._read.partition(b"\r\n")
        wanted = int(size, 16)
        while len(rest) < wanted + 2:
            self._read = size + b"\r\n" + rest
            assert self._more(), "the service hung up in the middle of a chunk"
            rest = self._read[len(size) + 2 :]
        self._plain += rest[:wanted]
        self._read = rest[wanted + 2 :]
        self.ended = wanted == 0
        return wanted > 0
