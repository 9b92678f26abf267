"""Databases that are measured beside the service: rqlite, etcd and PostgreSQL, each with every write on disk."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.memory.servers import Server, running
from support.controlplane import find_binaries, free_port

RQLITE = Path(__file__).parent / "rqlite"
_POSTGRES = Path("/usr/lib/postgresql/15/bin")
"""Debian's package postgresql-15."""
TEXTS = 5_000
_SCHEMA = f"""
    CREATE TABLE texts (id int PRIMARY KEY, text text NOT NULL);
    INSERT INTO texts SELECT id, rpad(string_agg('w' || (id * 7919 + place * 104729) % 20000, ' '), 180)
        FROM generate_series(0, {TEXTS} - 1) AS id, generate_series(1, 10) AS place GROUP BY id;
    CREATE TABLE entries (
        key text PRIMARY KEY, value jsonb NOT NULL, tags text[] NOT NULL DEFAULT '{{}}', version bigint NOT NULL,
        words tsvector GENERATED ALWAYS AS (to_tsvector('simple', value ->> 'text')) STORED
    );
    CREATE INDEX ON entries USING gin (words);
    CREATE INDEX ON entries USING gin (tags);
"""


@contextlib.contextmanager
def rqlite(data: Path) -> Iterator[Server]:
    """Serve with rqlite, built from its Go module."""
    built = subprocess.run([RQLITE / "build.sh"], check=True, stdout=subprocess.PIPE, text=True)
    port, raft = free_port(), free_port()
    command = [built.stdout.strip(), "-node-id", "1", "-http-addr", f"127.0.0.1:{port}"]
    command += ["-raft-addr", f"127.0.0.1:{raft}", str(data)]
    with running(command, port, "/readyz") as server:
        yield server


@contextlib.contextmanager
def etcd(data: Path) -> Iterator[Server]:
    """Serve with etcd, whose HTTP gateway is measured."""
    port, peers = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(find_binaries() / "etcd"), "--data-dir", str(data), "--log-level", "error"]
    command += ["--listen-client-urls", url, "--advertise-client-urls", url]
    command += ["--listen-peer-urls", f"http://127.0.0.1:{peers}"]
    with running(command, port, "/readyz") as server:
        yield server


@contextlib.contextmanager
def postgres(data: Path) -> Iterator[Server]:
    """Serve with PostgreSQL, with indexes of words and of tags. It refuses to run as root."""
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    data.mkdir()
    if user:
        data.parent.chmod(0o711)
        os.chown(data, user.pw_uid, user.pw_gid)
    prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] if user else []
    port, cluster = free_port(), data / "cluster"
    init = [*prefix, str(_POSTGRES / "initdb"), "-D", str(cluster), "-U", "bench", "--auth=trust"]
    subprocess.run(init, check=True, stdout=subprocess.DEVNULL)
    command = [*prefix, str(_POSTGRES / "postgres"), "-D", str(cluster), "-p", str(port), "-k", str(data)]
    with running([*command, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"], port, None) as server:
        psql = ["psql", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "bench", "-d", "postgres"]
        subprocess.run([*psql, "-v", "ON_ERROR_STOP=1", "-c", _SCHEMA], check=True)
        yield server


def missing() -> list[str]:
    """Return Debian's packages that must be installed first."""
    tools = {"psql": "postgresql-15", "pgbench": "postgresql-15", "gcc": "gcc"}
    return sorted({package for tool, package in tools.items() if shutil.which(tool) is None})
