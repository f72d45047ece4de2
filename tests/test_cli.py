import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from sqlalchemy.exc import OperationalError

import cli
from corpus_db import db as database
from corpus_db import recent, stats, version
from corpus_db.console import NO_CORPUS
from corpus_db.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = sorted(cli.main.commands)
URL = "postgresql+psycopg://me:secret@host/corpus"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RGC_DATA", raising=False)


@pytest.fixture
def sample_db(tmp_path):
    """An empty corpus that counts as built."""
    database.create("data/sample.db").dispose()
    recent.remember("built", "data/sample.db")
    return "data/sample.db"


def run(*words):
    return CliRunner().invoke(cli.main, words)


def process(*words, stdout=subprocess.PIPE, **options):
    command = [sys.executable, str(ROOT / "cli.py"), *words]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, **options)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name):
    shown = run(name, "--help")
    assert shown.exit_code == 0
    example = shown.stdout.partition("Example:")[2].partition("Options:")[0]
    assert f"python cli.py {name}" in example
    for option in cli.main.commands[name].params:
        assert not isinstance(option, click.Option) or option.help, f"{name} {option.name}: no help"


def test_the_commands_of_this_release_are_all_there():
    assert {"crawl", "build", "sql", "stats", "versions", "explain", "sample"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_bad_usage(name):
    assert run(name, "--no-such-option").exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        "no-such-command",
        "sql",
        "sql x --format xml",
        "sql x --timeout 0",
        "sql x --timeout soon",
        "crawl --limit 0",
        "crawl --limit -1",
        "crawl --limit some",
        "crawl --limit ²",
        "explain",
        "sample",
        "sample -o out --cases 0",
        "sample -o out --modality pet",
        "sample -o out --modality ,",
        "sample -o out --seed -1",
        "sample -o out --noise loud",
    ],
)
def test_bad_usage_exits_2_and_says_why(words):
    done = run(*words.split())
    assert done.exit_code == 2, done.output
    assert "Error:" in done.stderr
    assert os.listdir() == []


@pytest.mark.parametrize("given, limit", [([], None), (["--limit", "all"], "all"), (["--limit", "12"], 12)])
def test_crawl_passes_its_options_on_and_exits_as_the_crawl_did(monkeypatch, given, limit):
    import rgc.crawl

    calls = []
    monkeypatch.setattr(rgc.crawl, "run", lambda *args: calls.append(args[:4]) or SimpleNamespace(exit_code=130))
    assert run("crawl", "--site", "sample", "--db", "a.db", "--retry-failed", *given).exit_code == 130
    assert calls == [("sample", "a.db", limit, True)]


def test_a_crawl_for_a_script_prints_its_summary_alone_to_stdout(monkeypatch):
    import rgc.crawl

    def crawled(site, db, limit, retry_failed, say):
        say("3 cases listed.")
        return SimpleNamespace(database=db, summary={"statuses": {"ok": 3}}, exit_code=130)

    monkeypatch.setattr(rgc.crawl, "run", crawled)
    done = run("crawl", "--site", "sample", "--db", "a.db", "--json")
    assert (done.exit_code, done.stderr) == (130, "3 cases listed.\n")
    assert json.loads(done.stdout) == {"database": "a.db", "statuses": {"ok": 3}}


@pytest.mark.parametrize(
    "words, found",
    [
        ("use v1", {"version": "first"}),
        ("tag v1 1.0.0", {"version": "first", "tag": "1.0.0"}),
        ("clean in.jsonl -o out.jsonl", {"captions": 1, "kept": 1}),
    ],
)
def test_what_changes_something_tells_a_script_what(monkeypatch, sample_db, words, found):
    for name in ("use", "tag"):
        monkeypatch.setattr(version, name, lambda *_: SimpleNamespace(name="first"))
    Path("in.jsonl").write_text('{"id": 1, "raw": "Axial CT of the chest."}\n')
    done = run(*words.split(), "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, found), done.stderr


@pytest.mark.parametrize("words", ["build", "sql x", "stats", "versions", "explain x"])
def test_without_a_corpus_one_line_says_how_to_make_one(words):
    done = run(*words.split())
    assert (done.exit_code, done.stderr) == (1, f"Error: {NO_CORPUS}\n")


def test_the_database_made_last_is_used_and_named_without_its_password(monkeypatch, sample_db):
    done = run("stats", "--json")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == "database: data/sample.db\n"
    assert json.loads(done.stdout)["images"] == 0
    recent.remember("built", URL)
    monkeypatch.setattr(database, "open_readonly", raising(UserError("not there")))
    assert run("versions").stderr == "database: postgresql+psycopg://me:***@host/corpus\nError: not there\n"


def test_build_takes_what_was_crawled_last_and_reads_take_what_was_built_last(sample_db):
    database.create("data/crawled.db").dispose()
    recent.remember("crawled", "data/crawled.db")
    assert "database: data/crawled.db\n" in run("build").stderr
    assert run("stats").stderr == "database: data/sample.db\n"
    assert recent.recall("built") == "data/sample.db"  # the build above had nothing to build from


@pytest.mark.parametrize("form, printed", [("table", "n\n-\n1\n"), ("csv", "n\n1\n"), ("json", '[\n {"n": 1}\n]\n')])
def test_sql_prints_each_format(sample_db, form, printed):
    done = run("sql", "SELECT 1 AS n", "--format", form)
    assert (done.exit_code, done.stdout) == (0, printed)


def test_a_sample_is_rendered_and_another_is_refused_in_its_place(tmp_path):
    words = ["sample", "--seed", "7", "--cases", "2", "--noise", "none", "--modality", "MR, ct", "-o", "out"]
    done = run(*words)
    assert done.exit_code == 0, done.stderr
    recipe = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert (recipe["seed"], recipe["cases"], recipe["modalities"]) == (7, 2, ["ct", "mr"])
    done = run(*words, "--noise-seed", "3")
    assert done.exit_code == 1
    assert "choose another folder" in done.stderr


def raising(error):
    def call(*_, **__):
        raise error

    return call


@pytest.mark.parametrize(
    "error, said",
    [
        (UserError("no such thing; do this"), "no such thing; do this"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.db"), "a.db: No space left on device; free some space"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "a.db"), "a.db: Read-only file system; give a place"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "a.db"), "a.db: Permission denied; give a place"),
        (PermissionError(errno.EPERM, os.strerror(errno.EPERM)), "Operation not permitted"),
        (OperationalError("INSERT", {}, Exception("database or disk is full")), "full; free some space"),
        (OperationalError("INSERT", {}, Exception("attempt to write a readonly database")), "give a place"),
        (OperationalError("INSERT", {}, Exception("database is locked")), "another command is writing"),
        (OperationalError("SELECT", {}, Exception("database disk image is malformed\nmore")), "go back to a copy"),
    ],
)
def test_what_is_at_fault_outside_the_program_is_one_line(monkeypatch, sample_db, error, said):
    monkeypatch.setattr(stats, "stats", raising(error))
    done = run("stats", "--db", sample_db)
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: ") and said in done.stderr


@pytest.mark.parametrize("words", [(), ("--run", "nothing")])
def test_a_report_with_no_place_to_go_ends_before_it_is_made(monkeypatch, sample_db, tmp_path, words):
    monkeypatch.setattr("corpus_db.report.make.report", raising(AssertionError("pictures were made")))
    monkeypatch.setattr("vlt.report.write", raising(AssertionError("a page was made")))
    for target, says in ((tmp_path, "a folder"), (tmp_path / "nowhere" / "x.html", "there is no folder")):
        done = run("report", "--db", sample_db, "-o", str(target), *words)
        assert done.exit_code == 1 and says in done.stderr and done.stderr.count("\n") <= 2


def test_a_refused_import_leaves_no_new_database_and_one_that_was_there_alone(sample_db, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text("bild,caption\n1.png,A\n")
    made = tmp_path / "out" / "new.db"
    done = run("import", "folder", str(tmp_path / "in"), "--db", str(made))
    assert done.exit_code == 1 and not list(made.parent.iterdir())
    assert run("import", "folder", str(tmp_path / "in"), "--db", sample_db).exit_code == 1
    assert run("stats", "--db", sample_db).exit_code == 0


@pytest.mark.parametrize("reason", ["unable to open database file", "attempt to write a readonly database"])
def test_a_database_that_cannot_be_written_says_what_to_do(monkeypatch, tmp_path, reason):
    monkeypatch.setattr("corpus_db.db.upgrade", raising(OperationalError("", {}, Exception(reason))))
    (tmp_path / "t.csv").write_text("image,caption\n1.png,A\n")
    done = run("import", "folder", str(tmp_path / "t.csv"), "--db", str(tmp_path / "new.db"))
    assert done.exit_code == 1 and "cannot be written" in done.stderr and "another place with --db" in done.stderr
    assert "a folder, not a database" in run("import", "folder", str(tmp_path / "t.csv"), "--db", str(tmp_path)).stderr


def test_a_defect_of_the_program_is_not_hidden(monkeypatch, sample_db):
    monkeypatch.setattr(stats, "stats", raising(ZeroDivisionError("a defect")))
    assert isinstance(run("stats", "--db", sample_db).exception, ZeroDivisionError)


def test_ctrl_c_ends_in_one_line(monkeypatch, sample_db):
    monkeypatch.setattr(stats, "stats", raising(KeyboardInterrupt()))
    done = run("stats", "--db", sample_db)
    assert (done.exit_code, done.stderr.count("\n")) == (128 + signal.SIGINT, 1)


def test_sigterm_ends_a_command_in_one_line(sample_db):
    words = ["sql", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"]
    command = [sys.executable, str(ROOT / "cli.py"), *words, "--timeout", "60"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr.readline().startswith("database: ")
        time.sleep(0.3)
        child.terminate()
        assert child.stderr.read() == "interrupted; the same command goes on from here\n"
        assert child.wait(60) == 128 + signal.SIGTERM


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_ends_no_command(sample_db, closed):
    line = shlex.join([sys.executable, str(ROOT / "cli.py"), "stats"])
    done = subprocess.run(["sh", "-c", f"{line} {closed}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ("" if "2>" in closed else f"database: {sample_db}\n")
    assert bool(done.stdout) == (">&-" not in closed.split())


def test_an_empty_database_is_bad_usage_and_not_the_default_one(sample_db):
    done = run("stats", "--db", "")
    assert done.exit_code == 2 and "it is empty: name a database, or leave --db out" in done.output


MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i FROM n"


def test_a_reader_that_goes_away_ends_a_command_quietly(sample_db):
    reading, writing = os.pipe()
    os.close(reading)
    done = process("sql", MANY, "--db", sample_db, stdout=writing)
    os.close(writing)
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("words", [["sql", MANY], ["sql", "SELECT 1"], ["stats"], ["--help"]])
def test_output_onto_a_full_disk_is_one_line(sample_db, words):
    with open("/dev/full", "w") as full:
        done = process(*words, *([] if words == ["--help"] else ["--db", sample_db]), stdout=full)
    assert done.returncode == 1
    assert done.stderr == "Error: No space left on device; free some space, then run the same command again\n"


def test_a_terminal_without_unicode_gets_escapes(sample_db):
    words = ["sql", "SELECT 'é' AS é", "--db", sample_db]
    done = process(*words, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\xe9" in done.stdout


@pytest.fixture
def bare_python(tmp_path):
    """An interpreter with nothing installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    return tmp_path / "bare" / "bin" / "python"


@pytest.fixture
def copied(tmp_path):
    """cli.py alone in a folder with a blank in its name."""
    (tmp_path / "a project").mkdir()
    return Path(shutil.copy(ROOT / "cli.py", tmp_path / "a project"))


def call(python, script, *words):
    return subprocess.run([python, script, *words], capture_output=True, text=True, timeout=60)


def test_a_bare_python_hands_over_to_the_projects_own(bare_python, copied):
    own = copied.parent / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.write_text('#!/bin/sh\nprintf "%s|" own "$@"\nexit 7\n')
    own.chmod(0o755)
    done = call(bare_python, copied, "sql", "SELECT 'a  b'", "--format", "csv")
    assert done.stdout == f"own|{copied}|sql|SELECT 'a  b'|--format|csv|"
    assert done.returncode == 7


def test_a_bare_python_without_a_venv_says_what_to_run(bare_python, copied):
    done = call(bare_python, copied, "stats")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "run: make install\n")


def test_a_venv_that_is_not_whole_does_not_hand_over_to_itself(copied):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", copied.parent / ".venv"], check=True)
    done = call(copied.parent / ".venv" / "bin" / "python", copied, "stats")
    assert (done.returncode, done.stderr) == (1, "run: make install\n")


def test_the_whole_python_runs_it_from_any_folder(tmp_path, sample_db):
    done = process("stats", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "database: data/sample.db\n"
