"""Google Cloud Storage's XML interface, which versitygw speaks but for the signatures: a proxy puts those of S3 on."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

from integration.backups.objectstores import ObjectStore

_OF_ONE_HOP = frozenset({"authorization", "connection", "content-length", "host", "transfer-encoding"})


@contextlib.contextmanager
def gcs(server: ObjectStore) -> Iterator[ObjectStore]:
    """Yield the bucket of an S3 server as one of GCS."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            upstream = http.client.HTTPConnection("127.0.0.1", server.port)
            sent = {name: text for name, text in self.headers.items() if name.lower() not in _OF_ONE_HOP}
            upstream.request(self.command, self.path, body, sent | self.signed())
            answer = upstream.getresponse()
            text = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _OF_ONE_HOP:
                    self.send_header(name, value)
            length = answer.getheader("content-length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)
            upstream.close()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward  # noqa: N815 - http.server's names

        def signed(self) -> dict[str, str]:
            """Return the headers of AWS Signature Version 4 for this request."""
            path, _, query = self.path.partition("?")
            path = quote(unquote(path), safe="/-_.~")
            now, payload = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"), "UNSIGNED-PAYLOAD"
            scope = f"{now[:8]}/{server.options['region']}/s3/aws4_request"
            names = "host;x-amz-content-sha256;x-amz-date"
            heads = f"host:127.0.0.1:{server.port}\nx-amz-content-sha256:{payload}\nx-amz-date:{now}\n"
            ordered = "&".join(sorted(part if "=" in part else f"{part}=" for part in query.split("&") if part))
            request = f"{self.command}\n{path}\n{ordered}\n{heads}\n{names}\n{payload}"
            text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
            key = f"AWS4{server.credentials['AWS_SECRET_ACCESS_KEY']}".encode()
            for part in (*scope.split("/"), text):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            credential = f"Credential={server.credentials['access_key_id']}/{scope}"
            authorization = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={key.hex()}"
            return {"Authorization": authorization, "x-amz-date": now, "x-amz-content-sha256": payload}

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        port = proxy.server_address[1]
        url = f"http://127.0.0.1:{port}"
        # Google's own libraries have these two members for emulators: no token is asked for.
        account = {"private_key": _private_key(), "private_key_id": "k", "client_email": "e", "gcs_base_url": url}
        keys = {"service_account_key": json.dumps(account | {"disable_oauth": True})}
        options = {"endpoint": url, "allow_http": True}
        yield ObjectStore(server.url.replace("s3://", "gs://"), port, options, keys, server.process)
        proxy.shutdown()


def _private_key() -> str:
    made = subprocess.run(["openssl", "genrsa", "2048"], check=True, capture_output=True, text=True)
    return made.stdout
