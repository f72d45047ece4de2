import re

import click
import pytest
from click.testing import CliRunner

import cli
from tests.command_lines import PAGES, block_commands, commands_in, inline_commands, parse, tree

TREE = {path: command for path, command in tree() if path}
LEAVES = {path: command for path, command in TREE.items() if not isinstance(command, click.Group)}
NO_JSON = {  # and why
    "browse": "serves pages until it is stopped",
    "completion": "prints a script",
    "demo": "passes on what its commands print, and the reports' addresses",
    "embed": "prints JSON without being asked",
    "finetune": "runs --json tells of a run",
    "pretrain": "runs --json tells of a run",
    "sample": "leaves recipe.json",
    "sql": "has --format json",
}
MAKE_A_DATABASE = {("crawl",), ("import",)}  # where the others say that there is none


def examples(command):
    lines = (command.help or "").partition("Example:")[2].splitlines()
    return [line.strip() for line in lines if line.strip()]


def named(path):
    return " ".join(path)


every_command = pytest.mark.parametrize("path", TREE, ids=named)


@every_command
def test_the_help_begins_with_one_sentence(path):
    first = " ".join((TREE[path].help or "").partition("\n\n")[0].split())
    assert re.fullmatch(r"[A-Z].*[^.]\.", first), first
    assert len(first) <= 130, "too long for the list of commands"


@every_command
def test_each_example_is_of_the_command_and_parses(path):
    assert examples(TREE[path])
    for line in examples(TREE[path]):
        assert f"{line} ".startswith(f"python cli.py {named(path)} "), line
        for words in commands_in(line):
            parse(words)


@every_command
def test_every_option_says_what_it_is(path):
    for option in TREE[path].params:
        if isinstance(option, click.Option):
            says = re.sub(r" *\[default: .*\]$", "", option.help or "")
            assert re.match(r"[A-Z1a-z\"]", says), f"{option.opts}: {option.help!r}"
            assert says != option.help or says.endswith((".", "...")), f"{option.opts}: {option.help!r} is no sentence"


@every_command
def test_a_page_shows_the_command(path):
    shown = [words for page in PAGES for _, words in block_commands(page.read_text())]
    shown += [words for page in PAGES for words in inline_commands(page.read_text())]
    assert any(tuple(words[: len(path)]) == path for words in shown), "no page's command block or line has it"


@pytest.mark.parametrize("path", LEAVES, ids=named)
def test_a_script_can_read_what_a_command_found(path):
    has = any("--json" in param.opts for param in LEAVES[path].params)
    assert has != (path[0] in NO_JSON), NO_JSON.get(path[0], "has no --json, and no reason why")


def test_help_lists_each_command_once_under_a_section():
    listed = [name for names in cli.SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(cli.main.commands)
    shown = CliRunner().invoke(cli.main, ["--help"]).stdout
    assert [shown.count(f"\n  {name} ") for name in listed] == [1] * len(listed)
    assert "..." not in shown.partition("Begin:")[2], "a sentence is cut off"


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in LEAVES
        if path not in MAKE_A_DATABASE and any(param.name in ("db", "run") for param in LEAVES[path].params)
    ],
    ids=named,
)
def test_without_its_database_or_run_a_command_ends_in_one_line_that_says_so(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RGC_DATA", raising=False)
    (words, *_) = commands_in(examples(LEAVES[path])[0])
    if any(param.name == "db" for param in LEAVES[path].params):
        words = [*words, "--db", "nowhere.db"]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 1, done.output
    assert [line for line in done.stderr.splitlines() if line.startswith("Error: ")] == done.stderr.splitlines()[-1:]
    assert re.search(r"nowhere\.db|no such run|no run|swin_nano-1|rad\b|captions", done.stderr), done.stderr
    assert not [path for path in tmp_path.iterdir() if path.name != "runs"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_parses(page):
    text = page.read_text(encoding="utf-8")
    for words in [words for _, words in block_commands(text)] + list(inline_commands(text)):
        try:
            parse(words)
        except click.UsageError as error:
            pytest.fail(f"{page.name}: {' '.join(words)}: {error.format_message()}")
