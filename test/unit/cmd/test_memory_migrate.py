"""`swarm-memory migrate`: what it prints, writes and exits with, and that a killed one is run again."""

import json
import signal
import subprocess
import sys

import pytest
from support import legacy

from swarm_operator.cmd.memory import main, migrating

PROGRAM = [sys.executable, "-m", "swarm_operator.cmd.memory"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name in ("SWARM_MEMORY_OUTPUT", "SWARM_ID", "SCRATCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "legacy").mkdir()
    (tmp_path / "scratch").mkdir()
    return tmp_path


def run(capsys, *arguments, code=0):
    """The report, and the lines of standard error."""
    assert main(["migrate", "--source", "legacy", "--scratch", "scratch", *arguments]) == code
    out, err = capsys.readouterr()
    return json.loads(out), err.splitlines()


def test_the_report_is_printed_and_written_and_the_quarantine_lies_beside_it(folder, capsys):
    legacy.json_entries(folder / "legacy" / "entries.json")
    (folder / "legacy" / "bad.json").write_text('[{"key": 1')
    (folder / "out").mkdir()
    planned, _ = run(capsys, "--target", "store.db", "--dry-run", code=1)
    assert sorted(path.name for path in folder.iterdir()) == ["legacy", "out", "scratch"]
    report, lines = run(capsys, "--target", "store.db", "--report", "out/report.json", code=1)
    assert json.loads((folder / "out" / "report.json").read_text()) == report
    assert report["quarantine"] == "out/migration-quarantine.ndjson"
    assert len((folder / "out" / "migration-quarantine.ndjson").read_text().splitlines()) == 2
    assert lines[-1] == "swarm-memory: 1 items can't be migrated: see out/migration-quarantine.ndjson"
    assert planned["totals"] == report["totals"]
    assert (report["totals"]["created"], report["totals"]["quarantined"]) == (3, 1)
    (folder / "quarantine").mkdir()
    again, _ = run(capsys, "--target", "store.db", "--accept-quarantine", "--quarantine", "quarantine/q.ndjson")
    assert again["totals"]["unchanged"] == 3
    assert (folder / "quarantine" / "q.ndjson").exists()
    assert not (folder / "migration-quarantine.ndjson").exists()


def test_report_and_quarantine_are_archived_where_backups_are_kept_and_are_no_backups(folder, capsys):
    legacy.json_entries(folder / "legacy" / "entries.json")
    (folder / "legacy" / "bad.json").write_text('[{"key": 1')
    (folder / "legacy" / "empty.json").touch()
    (folder / "backups").mkdir()
    flags = ["--target", "store.db", "--accept-quarantine", "--archive", "backups", "--swarm-id", "bees"]
    report, _ = run(capsys, *flags, "--summary", "summary.json")
    archived = folder / "backups" / "bees" / "~migration"
    quarantine = archived / "quarantine.ndjson"
    assert quarantine.read_bytes() == (folder / "migration-quarantine.ndjson").read_bytes()
    assert json.loads((archived / "report.json").read_text()) == {**report, "quarantine": f"file://{quarantine}"}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary == {name: report[name] for name in ("complete", "problem", "totals", "kinds")}
    assert main(["backups", "list", "backups/bees"]) == 0
    assert capsys.readouterr().out == ""
    (folder / "legacy" / "bad.json").unlink()
    run(capsys, *flags)
    assert [path.name for path in archived.iterdir()] == ["report.json"], "nothing is in quarantine any more"


def test_a_migration_whose_report_is_nowhere_has_failed(folder, capsys):
    legacy.json_entries(folder / "legacy" / "entries.json")
    flags = ["--target", "store.db", "--archive", f"file://{folder}/none", "--summary", "summary.json"]
    report, lines = run(capsys, *flags, code=1)
    assert report["complete"]
    assert "none does not exist" in lines[-1]
    assert json.loads((folder / "summary.json").read_text())["problem"] in lines[-1]
    long = "x" * 5000
    run(capsys, *flags[:2], "--source", long, "--summary", "summary.json", code=1)
    assert len((folder / "summary.json").read_bytes()) < 4096, "as much as a message of a container holds"


def test_progress_is_lines_of_json_unless_there_is_a_terminal(folder, capsys, monkeypatch):
    legacy.json_entries(folder / "legacy" / "entries.json")
    size = (folder / "legacy" / "entries.json").stat().st_size
    monkeypatch.setattr(migrating, "_INTERVAL", 1e9)
    _, lines = run(capsys, "--target", "store.db")
    assert [json.loads(line) for line in lines] == [
        {"phase": "reading", "done": 0, "of": size, "source": "entries.json"},
        {"phase": "reading", "done": size, "of": size, "source": ""},
        {"phase": "writing", "done": 0, "of": 3, "source": "entries.json"},
        {"phase": "writing", "done": 3, "of": 3, "source": ""},
    ]
    shown = []
    monkeypatch.setattr(migrating, "bar", lambda *_, **__: Shown(shown))
    _, lines = run(capsys, "--target", "store.db")
    assert (lines, shown[-1]) == ([], (3, 3))


class Shown:
    def __init__(self, shown):
        self.shown = shown

    def __enter__(self):
        return lambda done, of: self.shown.append((done, of))

    def __exit__(self, *_):
        return None


def test_what_fails_is_said_and_exits_with_1(folder, capsys):
    report, lines = run(capsys, "--source", "nothing", "--target", "store.db", "--report", "report.json", code=1)
    assert (report["complete"], "nothing" in lines[-1]) == (False, True)
    assert json.loads((folder / "report.json").read_text())["problem"] == report["problem"]
    report, lines = run(capsys, "--target", "http://127.0.0.1:9", "--retry-for", "0", code=1)
    assert (report["complete"], report["target"]) == (False, "http://127.0.0.1:9")
    report, _ = run(capsys, "--target", "none/store.db", code=1)
    assert not report["complete"]
    assert main(["migrate", "--source", "legacy"]) == 2


def test_a_killed_process_leaves_nothing_that_the_next_one_does_not_put_right(folder, capsys):
    entries = [{"key": str(number), "value": "x" * 200, "timestamp": 1} for number in range(1500)]
    (folder / "legacy" / "a.json").write_text(json.dumps({"n": entries}))
    legacy.hive(folder / "legacy" / "hive.db")
    command = [*PROGRAM, "migrate", "--source", "legacy", "--target", "store.db", "--scratch", "scratch"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in killed.stderr:
        if '"writing"' in line:
            break
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.wait() == -signal.SIGKILL
    assert len(list((folder / "scratch").iterdir())) == 1
    report, _ = run(capsys, "--target", "store.db")
    again, _ = run(capsys, "--target", "store.db")
    whole, _ = run(capsys, "--target", "other.db")
    totals = report["totals"]
    assert totals["created"] + totals["unchanged"] == totals["found"] == whole["totals"]["created"] > 1500
    assert again["totals"] == {**whole["totals"], "created": 0, "unchanged": totals["found"]}
    assert list((folder / "scratch").iterdir()) == []
    assert _dump(capsys, folder / "store.db") == _dump(capsys, folder / "other.db")


def _dump(capsys, database):
    assert main(["check", str(database)]) == 0
    found = json.loads(capsys.readouterr().out)
    return {name: found[name] for name in ("entries", "value_bytes", "namespaces", "findings")}


def test_a_large_file_takes_no_more_memory_than_a_small_one(folder):
    value = {"text": "word " * 2000}
    with (folder / "legacy" / "large.json").open("w") as file:
        file.write('{"n": [')
        for number in range(1_000):
            file.write(json.dumps({"key": str(number), "value": value}) + ",")
        file.write('{"key": "one string", "value": "' + "x" * 60_000_000 + '"}]}')
    code = """if True:
        import pathlib, sys
        from swarm_operator.cmd.memory import main
        code = main(["migrate", "--source", "legacy", "--target", "store.db", "--dry-run", "--scratch", "scratch"])
        status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
        print(code, status["VmHWM"].split()[0], file=sys.stderr)
        """
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert (report["totals"]["created"], report["reasons"]) == (1_000, {"too-large": 1})
    exit_code, kilobytes = done.stderr.splitlines()[-1].split()
    assert (exit_code, int(kilobytes) < 150_000) == ("1", True), kilobytes
