"""The command of the studies. It parses, calls, prints."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from vlt.commands import MOST_SEED, say


def _seeds(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...]:
    try:
        seeds = tuple(int(one) for one in value.split(",")) if value else ()
    except ValueError:
        raise click.BadParameter(f"{value!r}: give numbers with commas between") from None
    if bad := [seed for seed in seeds if not 0 <= seed <= MOST_SEED]:
        raise click.BadParameter(f"{bad[0]}: a seed is a number from 0 to {MOST_SEED}")
    return seeds


@click.command()
@click.argument("name", metavar="objectives|backbones|vqa-baseline|corpora")
@click.option(
    "--preset", type=click.Choice(["full", "quick"]), default="full", show_default=True, help="quick: a smoke test."
)
@click.option(
    "--db", metavar="DB", help="A corpus with its questions, a file or a URL  [default: samples, made where they lack]"
)
@click.option("--questions", metavar="SOURCE", help="With --db: an imported set  [default: vqa-rad]")
@click.option(
    "--protocol",
    type=click.Choice(["official", "image-disjoint"]),
    default="official",
    show_default=True,
    help="The set's own splits, or its images shared out anew.",
)
@click.option("--seeds", callback=_seeds, metavar="1,2,...", help="Some of the study's, or others  [default: all]")
@click.option("--arms", metavar="NAME,...", help="Some of the study's arms  [default: all]")
@click.option(
    "--processes", type=click.IntRange(1), help="On a CPU: how many, of a thread each  [default: by the model]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_context
def study(
    ctx: click.Context,
    name: str,
    preset: str,
    db: str | None,
    questions: str | None,
    protocol: str,
    seeds: tuple[int, ...],
    arms: str | None,
    processes: int | None,
    as_json: bool,
) -> None:
    """Run one of the paper's comparisons to its table; interrupted, the same command goes on.

    All is kept in runs/studies/; docs/studies.md tells what is known of the paper's settings and what is ours.

    \b
    Example:
      python cli.py study objectives --preset quick
      python cli.py study vqa-baseline --db data/local.db --questions vqa-rad
    """
    from vlt import studies
    from vlt.studies import corpora, run, table
    from vlt.tasks.questions import SAMPLE

    declared = studies.load(name)
    chosen = [arm.strip() for arm in arms.split(",")] if arms else list(declared.arms)
    if unknown := sorted(set(chosen) - set(declared.arms)):
        raise click.UsageError(f"--arms {unknown[0]}: no such arm; there are {', '.join(declared.arms)}")
    if db is None and questions is not None:
        raise click.UsageError("--questions goes with --db; the samples bring their own")
    if db is not None and declared.corpora:
        raise click.UsageError(f"{name} compares samples of its own; leave --db out")
    share = studies.PRESETS[preset]["cases"]
    script = Path(sys.argv[0]).resolve()
    databases = {studies.MAIN: db} if db else corpora.prepared(declared, share, script, say)
    data = run.Data(databases, (questions or "vqa-rad") if db else SAMPLE, protocol)
    runner = run.Runner(declared, data, preset, processes, say)
    try:
        runner.run(seeds or declared.seeds, chosen)
    except run.Stopped as stop:
        say("the study goes on with the same command")
        ctx.exit(stop.code)
    lines = table.write(declared, runner.questions.name, runner.folder, preset == "quick")
    click.echo(_json(runner.folder) if as_json else "\n".join(lines))
    click.echo(f"kept in {runner.folder}", err=True)


def _json(folder: Path) -> Any:
    return json.dumps(json.loads((folder / "result.json").read_text()))


COMMANDS = (study,)
