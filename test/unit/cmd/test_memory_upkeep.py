"""Backups, checks and completion on the command line, and tables on a terminal."""

import io
import json
import os
import pty
import re
import subprocess
import sys

import pytest

from swarm_operator.cmd import memory as command
from swarm_operator.cmd.memory import text
from swarm_operator.memory.sqlite.database.driver import sqlite3

PROGRAM = [sys.executable, "-m", "swarm_operator.cmd.memory"]
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r\nü"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    for name in ("SWARM_MEMORY_URL", "SWARM_MEMORY_TOKEN_FILE", "SWARM_MEMORY_OUTPUT", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def service(serve, monkeypatch):
    """A service on tmp_path/data, where the commands look for its tokens by themselves."""
    monkeypatch.setenv("SWARM_MEMORY_URL", serve("--grpc-port", "off"))


def on_terminal(*arguments):
    """The exit code, and what a terminal gets that is both standard output and standard error."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen([*PROGRAM, *arguments], stdout=terminal, stderr=terminal, stdin=subprocess.DEVNULL)
    os.close(terminal)
    output = b""
    try:
        while part := os.read(controller, 65536):
            output += part
    except OSError:  # its other end is closed
        pass
    os.close(controller)
    return process.wait(), output.decode()


def visible(output):
    """Without the colours, and the bar's movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)


def put_evil():
    assert command.main(["put", "n", EVIL, json.dumps({"text": EVIL}), "--tag", EVIL]) == 0


def test_a_backup_is_fetched_checked_and_explained(service, tmp_path, run):
    assert command.main(["put", "n", "k", "1"]) == 0
    done = run("backup", "my backup.db")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert (said["file"], said["size"]) == ("my backup.db", (tmp_path / "my backup.db").stat().st_size)
    assert said["check"] == "swarm-memory check 'my backup.db'"
    assert "swarm-memory.db" in said["restore"]
    checked = run("check", "my backup.db")
    assert (checked.returncode, json.loads(checked.stdout)["ok"], json.loads(checked.stdout)["entries"]) == (0, True, 1)
    again = run("backup", "my backup.db")
    assert (again.returncode, again.stdout, again.stderr) == (1, "", "swarm-memory: my backup.db: File exists\n")
    missing = run("backup", "missing/b.db")
    assert (missing.returncode, missing.stderr) == (1, "swarm-memory: missing/b.db: No such file or directory\n")
    refused = run("backup", "b.db", "--token-file", "data/tokens/client-token")
    assert (refused.returncode, refused.stderr) == (1, "swarm-memory: 403: this token may not do that\n")
    assert not (tmp_path / "b.db").exists()
    in_use = run("check", "data/swarm-memory.db")
    assert in_use.returncode == 1
    assert "stop its service first" in in_use.stderr


def test_a_backup_of_no_service_leaves_no_file(tmp_path, run):
    done = run("backup", "b.db", "--url", "http://127.0.0.1:1")
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (1, "", [])
    assert done.stderr.startswith("swarm-memory: http://127.0.0.1:1: ")


def test_a_progress_bar_is_for_a_terminal(service):
    code, output = on_terminal("backup", "b.db")
    assert code == 0
    assert "\x1b[?25l" in output  # the bar hides the cursor while it moves
    assert re.search(r"file\s+b\.db", visible(output))


def test_an_import_on_a_terminal_shows_a_bar_and_does_the_same(service, tmp_path, run):
    assert command.main(["put", "swarm:agents", "a", "1"]) == 0
    (tmp_path / "swarm.ndjson").write_text(run("export").stdout)
    code, output = on_terminal("import", "swarm.ndjson")
    assert (code, "\x1b[?25l" in output) == (0, True)
    assert re.search(r"unchanged\s+1", visible(output))
    assert json.loads(run("import", "swarm.ndjson").stdout)["unchanged"] == 1


def test_what_is_wrong_with_a_file_is_printed_and_exits_1(service, tmp_path, run):
    put_evil()
    assert run("backup", "b.db").returncode == 0
    db = sqlite3.connect("b.db", isolation_level=None)
    db.execute("UPDATE namespaces SET entries = 7")
    db.execute("UPDATE entries SET metadata = '[]'")
    db.close()
    done = run("check", "b.db")
    *findings, summary = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, summary["ok"], summary["findings"]) == (1, False, 2)
    assert {finding["where"].split()[0] for finding in findings} == {"namespace", "entry"}
    code, output = on_terminal("check", "b.db")
    assert code == 1
    assert "WHERE" in output
    assert "\x1b]0" not in output
    (tmp_path / "text").write_text("text\n" * 200)
    for name, message in (
        ("text", "is not an SQLite database"),
        ("none", "No such file or directory"),
        (".", "not a f"),
    ):
        done = run("check", name)
        assert (done.returncode, done.stdout) == (1, "")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [("list", "n"), ("search", "--namespace", "n"), ("get", "n", EVIL)])
def test_what_is_stored_never_commands_a_terminal(service, arguments):
    put_evil()
    for form in ("table", "json"):
        code, output = on_terminal(*arguments, "-o", form)
        assert code == 0
        plain = re.sub(r"\x1b\[[0-9;]*m", "", output)  # the table's own colours
        assert not set(plain.replace("\r\n", "\n")) & {"\x1b", "\x07", "\x9b", "\r"}, plain
        assert "ü" in plain
    assert "\\x1b]0;owned\\x07" in on_terminal(*arguments)[1]


def test_a_table_is_for_a_terminal_and_json_for_a_pipe_unless_told_otherwise(service, monkeypatch, run):
    put_evil()
    assert command.main(["put", "n", "鍵" * 30, json.dumps("値" * 200)]) == 0
    code, output = on_terminal("list", "n")
    lines = visible(output).splitlines()
    assert (code, "KEY" in lines[0], "VERSION" in lines[0]) == (0, True, True), output
    assert "…" in output  # the value is cut, the key is not
    assert output.count("鍵") == 30
    assert [json.loads(line)["version"] for line in run("list", "n").stdout.splitlines()] == [1, 1]
    assert json.loads(run("list", "n").stdout.splitlines()[0])["key"] == EVIL
    assert "KEY" in run("list", "n", "--output", "table").stdout
    monkeypatch.setenv("SWARM_MEMORY_OUTPUT", "json")
    assert json.loads(on_terminal("list", "n")[1].splitlines()[0])["value"] == {"text": EVIL}
    refused = run("list", "n", "-o", "yaml")
    assert (refused.returncode, "one of auto, table, json" in refused.stderr) == (2, True)


def test_no_color_is_respected(service, monkeypatch):
    assert "\x1b[1m" in on_terminal("stats")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    code, output = on_terminal("list", "n")
    assert (code, re.search(r"\x1b\[[0-9;]*3\dm", output)) == (0, None)
    assert re.search(r"cache\.hits\s+0", visible(on_terminal("stats")[1]))


def test_a_thousand_rows_are_one_table(service, tmp_path, run):
    lines = [json.dumps({"op": "put", "namespace": "n", "key": f"k{number:04}", "value": 1}) for number in range(1001)]
    (tmp_path / "lines").write_text("\n".join(lines))
    assert run("batch", "lines").returncode == 0
    output = run("list", "n", "-o", "table").stdout
    assert (output.count("KEY"), len(re.findall(r"^k\d{4} ", output, re.MULTILINE))) == (1, 1001)


def test_plain_text_keeps_what_can_be_seen_and_escapes_the_rest():
    assert text.plain("grün 鍵 [bold]") == "grün 鍵 [bold]"
    assert text.plain("a\x1b[0m\n\x9b\u202e\u200d") == "a\\x1b[0m\\n\\x9b\\u202e\\u200d"
    line = text.json_line({"k\x9b": "\x7f\x1b"})
    assert line.isprintable()
    assert json.loads(line) == {"k\x9b": "\x7f\x1b"}


@pytest.mark.parametrize(("shell", "sign"), [
    ("bash", "complete -o"), ("zsh", "#compdef swarm-memory"), ("fish", "--command swarm-memory"),
    ("tcsh", "complete swarm-memory"),
])  # fmt: skip
def test_each_shell_gets_its_completion(capsys, shell, sign):
    assert command.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert sign in script
    assert f"_SWARM_MEMORY_COMPLETE={shell}_complete" in script


@pytest.mark.parametrize(("words", "expected"), [
    (["bat"], {"batch"}), (["search", "--any"], {"--any-tag"}), (["completion", "z"], {"zsh"}),
    (["check", "a-fi"], {"a-file.db"}), (["tasks", "--status", "comp"], {"completed"}),
    (["put", "n", "k", "-", "--cre"], {"--create-only"}), (["serve", "--data-dir", "a-fo"], {"a-folder/"}),
])  # fmt: skip
@pytest.mark.parametrize("shell", ["bash", "tcsh"])
def test_commands_flags_choices_and_paths_are_completed(tmp_path, capsys, monkeypatch, shell, words, expected):
    (tmp_path / "a-file.db").touch()
    (tmp_path / "a-folder").mkdir()
    standard_input = io.TextIOWrapper(io.BytesIO(b"1"))
    monkeypatch.setattr(sys, "stdin", standard_input)
    line = " ".join(["swarm-memory", *words])
    for name, value in {"COMP_WORDS": line, "COMP_CWORD": str(len(words)), "COMMAND_LINE": line}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("_SWARM_MEMORY_COMPLETE", f"{shell}_complete")
    assert command.main([]) == 0
    assert standard_input.buffer.tell() == 0, "a completion waits for no input"
    said = set(capsys.readouterr().out.split())
    if shell == "tcsh":
        assert said == expected
    else:  # which completes paths by itself
        kinds = {"a-file.db": "file,a-fi", "a-folder/": "dir,a-fo"}
        assert said == {kinds.get(word, f"plain,{word}") for word in expected}


def test_the_script_of_bash_asks_the_program(tmp_path, run):
    (tmp_path / "swarm-memory").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m swarm_operator.cmd.memory "$@"\n')
    (tmp_path / "swarm-memory").chmod(0o755)
    (tmp_path / "script").write_text(run("completion", "bash").stdout)
    code = (
        "source ./script; COMP_WORDS=(swarm-memory completion z); COMP_CWORD=2; COMPREPLY=();"
        "$(complete -p swarm-memory | sed -E 's/.*-F ([^ ]+).*/\\1/') swarm-memory z completion;"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", code], env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("zsh\n", "")
