"""The commands that a stranger begins with: doctor, demo, completion. Each parses, calls, prints."""

from dataclasses import asdict

import click

from corpus_db.console import json_option, show


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


COMMANDS = (doctor,)
