import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

import cli
from cli import PROGRAM, VARIABLE
from corpus_db import db as database
from corpus_db import recent

ROOT = Path(__file__).resolve().parent.parent
INSERT = "INSERT INTO version (name, manifest_sha256, config, created) VALUES (:name, :hash, '{}', '2026-01-01')"


@pytest.fixture
def completed(tmp_path, monkeypatch):
    """What bash offers for a line, with the printed script, in a folder of two versions and a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RGC_DATA", raising=False)
    engine = database.create("data/a.db")
    with engine.begin() as connection:
        for name in ("first", "second"):
            connection.execute(text(INSERT), {"name": name, "hash": name * 8})
    engine.dispose()
    recent.remember("built", "data/a.db")
    run = tmp_path / "runs" / "swin_nano-1"
    run.mkdir(parents=True)
    (run / "config.json").touch()
    program = tmp_path / "bin" / PROGRAM
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\nimport cli\ncli.main()\n")
    program.chmod(0o755)
    script = CliRunner().invoke(cli.main, ["completion", "bash"]).stdout
    (tmp_path / "script.bash").write_text(script)

    def offered(line):
        words = [PROGRAM, *line.split(" ")]
        asked = f"source ./script.bash; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        asked += f"_rgc_vlt_completion {PROGRAM}; echo ${{COMPREPLY[@]}}"
        environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", "-c", asked], env=environment, capture_output=True, text=True, timeout=60)
        assert done.stderr == ""
        return done.stdout.split()

    return offered


@pytest.mark.parametrize(
    "line, offers",
    [
        ("ver", ["verify", "versions"]),
        ("completion z", ["zsh"]),
        ("export --format w", ["webdataset"]),
        ("use s", ["second"]),
        ("diff first f", ["first"]),
        ("report fi", ["first"]),
        ("predict --run sw", ["swin_nano-1"]),
        ("finetune vqa --from swin", ["swin_nano-1"]),
        ("use --db nowhere.db s", []),
    ],
)
def test_bash_completes(completed, line, offers):
    assert completed(line) == offers


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_of_the_installed_programs_name(shell):
    done = CliRunner().invoke(cli.main, ["completion", shell])
    assert done.exit_code == 0
    assert f"{VARIABLE}={shell}_complete" in done.stdout and PROGRAM in done.stdout


def test_the_installed_program_is_the_command_line():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {PROGRAM: "cli:main"}
    assert f"_{PROGRAM.replace('-', '_').upper()}_COMPLETE" == VARIABLE
