"""The project's commands as help texts and pages print them: found, split into words, parsed as click would."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
_OURS = re.compile(r"(?:^|\s)(?:python |torchrun .*?)?(?:\S*/)?(?:cli\.py|rgc-vlt) ")
_SEPARATORS = {"&&", "||", ";", "|", "&"}


def tree(
    command: click.Command = cli.main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it, groups before what they hold."""
    yield path, command
    if isinstance(command, click.Group):
        for name, one in sorted(command.commands.items()):
            yield from tree(one, (*path, name))


def commands_in(line: str) -> list[list[str]]:
    """The words behind cli.py of each command in a shell line, without redirections and comments."""
    words = shlex.shlex(_one_of(line), posix=True, punctuation_chars=True)
    words.whitespace_split = True
    words.commenters = "#"
    found: list[list[str]] = []
    current: list[str] = []
    skip = False
    for word in words:
        if word in _SEPARATORS:
            found.append(current)
            current = []
        elif set(word) <= set("<>") or skip:
            skip = not skip
        else:
            current.append(word)
    return list(filter(None, map(_ours, [*found, current])))


def _one_of(line: str) -> str:
    """A synopsis, as `crawl --limit N|all [--db DB]`, as one of the commands that it stands for: with all options."""
    if "[--" not in line:
        return line
    line = re.sub(r"[\w-]+(?:\|[\w-]+)*\|([\w-]+)", r"\1", line.replace("[", "").replace("]", ""))
    return re.sub(r"\bN\b", "1", line)


def _ours(words: list[str]) -> list[str]:
    """What follows cli.py, where it is a command of ours; none else."""
    for at, word in enumerate(words):
        if word.endswith("cli.py") or word == "rgc-vlt":
            return words[at + 1 :]
        if at and not (words[0] == "python" or words[0] == "torchrun" or "=" in words[0]):
            break
    return []


def parse(words: list[str]) -> None:
    """Parse a command as click does; raises click.UsageError where it would, but for files that are not here."""
    command: click.Command = cli.main
    context = click.Context(command, info_name="python cli.py")
    while isinstance(command, click.Group):
        if words[0] in ("-h", "--help"):
            return
        name, found, words = command.resolve_command(context, list(words))
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    if {"-h", "--help"} & set(words):
        return
    given, rest, order = command.make_parser(context).parse_args(args=list(words))
    for param in click.core.iter_params_for_processing(order, command.get_params(context)):
        try:
            _, rest = param.handle_parse_result(context, given, rest)
        except click.BadParameter as error:
            if not (isinstance(param.type, click.Path) and "does not exist" in error.message):
                raise
    if rest:
        raise click.UsageError(f"unexpected: {' '.join(rest)}")


def blocks(page: str) -> Iterator[list[str]]:
    """The lines of each code block of a page, indented or fenced (of the shell's, or of no language), undented."""
    block: list[str] | None = None
    fence: str | None = None
    before = ""
    for line in [*page.splitlines(), ""]:
        if fence is not None:
            if line.startswith("```"):
                if fence in ("", "sh", "bash", "console", "text") and block:
                    yield block
                block, fence = None, None
            elif block is not None:
                block.append(line)
        elif line.startswith("```"):
            if block:
                yield block
            block, fence = [], line[3:].strip()
        elif line.startswith("    ") and (block is not None or not before.strip()):
            block = [*(block or []), line[4:]]
        elif block is not None and line.strip():
            yield block
            block = None
        before = line
    if block:
        yield block


def block_commands(page: str) -> Iterator[tuple[str, list[str]]]:
    """(line, words) of every command of ours in the code blocks of a page, in order."""
    for block in blocks(page):
        for line in block:
            line = line.removeprefix("$ ")
            if _OURS.search(f" {line}"):
                yield from ((line, words) for words in commands_in(line))


def inline_commands(page: str) -> Iterator[list[str]]:
    """The words of every `python cli.py ...` inside a line of prose or a table."""
    for found in re.findall(r"`(python cli\.py [^`]+)`", page):
        yield from commands_in(found.replace("\\|", "|"))
