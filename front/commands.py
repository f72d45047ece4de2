"""The commands that a stranger begins with: doctor, demo, completion. Each parses, calls, prints."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from corpus_db import recent
from corpus_db.console import json_option, show

PROGRAM, VARIABLE = "rgc-vlt", "_RGC_VLT_COMPLETE"  # pyproject.toml's script, and where click looks for its name


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Tell what is missing on this machine, what it would serve, and the command that gets it.

    Ends with exit code 1 where something that every command needs is missing.

    \b
    Example:
      python cli.py doctor
      python cli.py doctor --json
    """
    from front import doctor as looking

    found = looking.examine()
    show(found if not as_json else [asdict(one) for one in found], as_json, looking.render)
    ctx.exit(1 if any(one.state == "missing" for one in found) else 0)


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder, which holds nothing else  [default: data/demo]",
)
@click.pass_context
def demo(ctx: click.Context, output: Path | None) -> None:
    """Sample, build, pre-train, evaluate, report in one go, in a folder of its own; the last line has the reports.

    Seven minutes of a core's work, shared by two. Interrupted, the same command goes on; docs/commands.md has more.

    \b
    Example:
      python cli.py demo
      python cli.py demo -o ~/rgc-demo
    """
    from front import demo as showing

    home = (output or recent.data_folder() / "demo").absolute()
    try:
        addresses = showing.demo(home, Path(sys.argv[0]).resolve(), click.echo)
    except showing.Stopped as stop:
        click.echo("the demo goes on with the same command", err=True)
        ctx.exit(stop.code)
    click.echo(f"reports: {'  '.join(addresses)}")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options, versions and runs of rgc-vlt, which .venv/bin holds.

    \b
    Example:
      python cli.py completion bash >> ~/.bashrc
      python cli.py completion zsh >> ~/.zshrc
      python cli.py completion fish > ~/.config/fish/completions/rgc-vlt.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())


COMMANDS = (doctor, demo, completion)
