"""Plays a scenario on a running service and writes down each exchange, with what varies replaced (see masks)."""

import contextlib
import hashlib
import itertools
import re
import time

import grpc
from unit.memory.wire import grpc_calls
from unit.memory.wire.masks import Masks, replaced
from unit.memory.wire.sockets import Connection
from unit.memory.wire.steps import Crowd, Grpc, Http, Stream, compact

_LONG = 4096
_REQUEST_ID = re.compile(r"[0-9a-f]{32}")
_TRIES = 50
_PAUSE = 0.01


class Player:
    """Plays steps in their order.

    Attributes:
        exchanges: what was sent and answered, as JSON.
    """

    def __init__(self, service, *, times=True):
        self._service = service
        self._masks = Masks(service.tokens.parent, times=times)
        self._kept = {}
        self._millisecond = 0
        self._messages = grpc_calls.Messages()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}")
        self.exchanges = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._channel.close()

    def play(self, steps):
        """Play steps."""
        for step in steps:
            # Each begins in a millisecond of its own: what is ordered by time has one order.
            last = self._millisecond
            while self._millisecond == last:
                self._millisecond = time.time_ns() // 1_000_000
            {Http: self._http, Stream: self._stream, Crowd: self._crowd, Grpc: self._grpc}[type(step)](step)

    def _note(self, name, **exchange):
        """Write down an exchange; its place is that of its beginning."""
        assert all(each["name"] != name for each in self.exchanges), f"two exchanges are called {name!r}"
        self.exchanges.append(noted := {"name": name, **exchange})
        return noted

    # HTTP

    def _request(self, step):
        """Return the bytes to send, and the request as the recording shows it."""
        body = step.body
        if body is not None and not isinstance(body, bytes):
            body = compact(body)
        lines = [f"{step.method} {step.target} HTTP/1.1"]
        if not any(each.lower().startswith("host:") for each in step.headers):
            lines.append("Host: localhost")
        if step.token is not None:
            lines.append(f"Authorization: Bearer {step.token}")
        lines += step.headers
        sent = {"sent": list(lines)}
        if body is not None:
            raw = replaced(body, self._kept).encode() if isinstance(body, str) else body
            if not any(each.lower().startswith(("content-length:", "transfer-encoding:")) for each in step.headers):
                lines.append(f"Content-Length: {len(raw)}")
            sent["body"] = _readable(body if isinstance(body, bytes) else body.encode())
        else:
            raw = b""
        head = "\r\n".join([*(replaced(line, self._kept) for line in lines), "", ""])
        return head.encode("latin-1") + raw, sent

    def _http(self, step):
        raw, sent = self._request(step)
        noted = self._note(step.name, **sent)
        for number in itertools.count():
            with Connection(self._service.port) as connection:
                connection.send(raw)
                head = connection.head()
                body = connection.body(head, step.method)
            # A search that took too long has ended early: that is right, and happens on a busy machine only.
            early = number < _TRIES and b'"partial":true' in body
            if not early and re.search(step.until, body.decode(errors="replace")):
                break
            time.sleep(_PAUSE)
        self._keep(step, "\n".join(head) + "\n\n" + body.decode(errors="replace"))
        if step.opaque:
            noted["got"] = self._head(head, raw, len(body), same=False)
            noted["answer"] = [f"{body[:16]!r} and more"]
            return
        try:
            masked, same = self._masks.text(body.decode())
            masked = masked.encode()
        except UnicodeDecodeError:
            masked, same = body, True
        # What HEAD tells is the length of an answer to GET, which has numbers that vary.
        same = same and not (step.method == "HEAD" and step.target in {"/v1/stats", "/openapi.json"})
        noted["got"] = self._head(head, raw, len(body), same=same, method=step.method)
        noted["answer"] = _readable(masked, whole=True)

    def _head(self, lines, request, length, *, same, method=""):
        """The head of an answer, with what varies replaced."""
        masked = []
        for line in lines:
            name, _, value = line.partition(": ")
            match name.lower():
                case "date":
                    value = "<date>"
                case "x-request-id" if _REQUEST_ID.fullmatch(value) and value.encode() not in request:
                    value = "<request-id>"
                case "mcp-session-id":
                    value = self._masks.session(value)
                case "repr-digest":
                    value = re.sub(r":[^:]+:", ":<digest>:", value)
                case "content-length":
                    assert method == "HEAD" or int(value) == length, f"{lines}: the body has {length} bytes"
                    value = value if same else "<length>"
                case "content-disposition":
                    value = self._masks.text(value)[0]
            masked.append(f"{name}: {value}" if value else line)
        return masked

    def _keep(self, step, text):
        for name, pattern in step.keep.items():
            found = re.search(pattern, text)
            assert found, f"{step.name}: {pattern} is not in {text}"
            self._kept[name] = found[1]

    def _stream(self, step):
        raw, sent = self._request(step.request)
        noted = self._note(step.request.name, **sent)
        with Connection(self._service.port) as connection:
            connection.send(raw)
            head = connection.head()
            noted["got"] = self._head(head, raw, 0, same=True)
            noted["answer"] = self._events(connection, step.first)
            self.play(step.meanwhile)
            noted["answer"] += self._events(connection, step.events)
            if step.ends:
                assert connection.event() == b""
                noted["answer"].append("<the service ends it>")

    def _events(self, connection, count):
        lines = []
        while count:
            event = connection.event().decode()
            assert event, f"the stream has ended after {lines}"
            # A comment says that nothing has happened for a while: there are fewer events than the scenario says.
            assert not event.startswith(":"), f"no more events after {lines}"
            lines += self._masks.text(event)[0].splitlines(keepends=True)
            count -= 1
        return lines

    def _crowd(self, step):
        raw, _ = self._request(step.request)
        with contextlib.ExitStack() as stack:
            for _ in range(step.count):
                connection = stack.enter_context(Connection(self._service.port))
                connection.send(raw)
                assert connection.head()[0].split()[1] == "200"
            self.play(step.meanwhile)

    # gRPC

    def _grpc(self, step):
        method = step.method if step.method.startswith("/") else f"/{grpc_calls.SERVICE}/{step.method}"
        asked, answered, sends, receives = self._messages.of(method)
        metadata = [*([("authorization", f"Bearer {step.token}")] if step.token is not None else []), *step.metadata]
        if isinstance(step.request, bytes):
            raw = step.request
        else:
            message = asked()
            grpc_calls.text_format.Parse(replaced(step.request, self._kept), message)
            raw = message.SerializeToString()
        noted = self._note(
            step.name, method=method, metadata=[f"{name}: {value}" for name, value in metadata],
            request=_readable(raw) if isinstance(step.request, bytes) else step.request,
        )  # fmt: skip
        opened = getattr(self._channel, f"{'stream' if sends else 'unary'}_{'stream' if receives else 'unary'}")(method)
        request = iter([raw]) if sends else raw
        answers = []
        if receives:
            call = opened(request, metadata=metadata, timeout=60)
            try:
                self._read(call, step, answers)
            except grpc.RpcError as error:
                call = error
        else:
            try:
                answer, call = opened.with_call(request, metadata=metadata, timeout=60)
                answers.append(answer)
            except grpc.RpcError as error:
                call = error
        ended = not receives or step.answers is None or len(answers) < step.answers
        noted["status"] = call.code().name if ended else "<cancelled by the test>"
        noted["details"] = (call.details() or "") if ended else ""
        noted["initial"] = self._metadata(call.initial_metadata(), raw, metadata)
        noted["trailing"] = self._metadata(call.trailing_metadata(), raw, metadata) if ended else []
        noted["answers"] = [self._message(answered.FromString(each), each) for each in answers]
        self._keep(step, "\n".join("\n".join(grpc_calls.text_of(answered.FromString(each))) for each in answers))

    def _read(self, call, step, answers):
        for message in call:
            answers.append(message)
            if len(answers) == 1:
                self.play(step.meanwhile)
            if len(answers) == step.answers:
                call.cancel()
                return

    def _message(self, message, raw):
        # Only the order of a map's members may differ.
        assert sorted(message.SerializeToString()) == sorted(raw), "there is more in the message than is known of it"
        grpc_calls.mask(message, self._masks)
        return {"text": grpc_calls.text_of(message), "bytes": message.SerializeToString(deterministic=True).hex()}

    def _metadata(self, items, request, sent):
        masked = []
        for name, value in items or ():
            if name == "swarm-problem-bin":
                problem = self._messages.problem.FromString(value)
                masked.append(f"{name}: {self._message(problem, value)['text']}")
            elif name == "x-request-id" and _REQUEST_ID.fullmatch(value) and all(value not in text for _, text in sent):
                masked.append(f"{name}: <request-id>")
            else:
                masked.append(f"{name}: {value}")
        return masked


def _readable(raw, *, whole=False):
    """Bytes as lines of text; long requests as their digest."""
    if len(raw) > _LONG and not whole:
        return [f"{len(raw)} bytes, sha256 {hashlib.sha256(raw).hexdigest()}"]
    try:
        return raw.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return [f"hex {raw.hex()}"]
