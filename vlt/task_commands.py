"""The commands of tasks: finetune and evaluate, each for vqa, retrieval and report. Each parses, calls, prints."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from vlt.commands import MOST_SEED, PRECISION, beams_option, corpora_option, known_runs, say, settings_of

Command = TypeVar("Command", bound=Callable[..., Any])


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_training = _options(
    click.option(
        "--from",
        "origin",
        metavar="RUN",
        shell_complete=known_runs,
        help="A run, its folder or file; none: from scratch.",
    ),
    click.option(
        "--set", "settings", multiple=True, callback=settings_of, metavar="NAME=VALUE", help="Any setting of a run."
    ),
    click.option("--steps", type=click.IntRange(1), help="How many batches to learn from, at most."),
    click.option("--seed", type=click.IntRange(0, MOST_SEED), help="What chance follows from."),
    PRECISION,
    click.option("--blind", is_flag=True, default=None, help="A twin that sees blank images, to compare with."),
    click.option("--name", metavar="NAME", help="The run's name  [default: from the task and the run, numbered]"),
    click.option("--resume", metavar="RUN", shell_complete=known_runs, help="Go on with an interrupted run."),
    click.option(
        "--db",
        metavar="DB",
        help="The corpus's database, a file or a URL  [default: the run's own, with --from none the one built last]",
    ),
    click.option(
        "--processes", type=click.IntRange(1), help="On a CPU: how many, of a thread each  [default: by the model]"
    ),
)
_reading = _options(
    click.option("--run", required=True, metavar="RUN", shell_complete=known_runs, help="A run's name or folder."),
    click.option(
        "--split",
        type=click.Choice(["train", "val", "test"]),
        default="test",
        show_default=True,
        help="Which part of the data.",
    ),
    click.option(
        "--db", metavar="DB", help="The database, a file or a URL  [default: the one that the run learned from]"
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts."),
)
_corpus = click.option("--corpus", metavar="VERSION", help="A version  [default: the one that the run learned from]")


@click.group()
def finetune() -> None:
    """Fine-tune a pre-trained model, or train one from scratch, for a task.

    \b
    Example:
      python cli.py finetune vqa --from swin_nano-1
      python cli.py finetune retrieval --from swin_nano-1
      python cli.py finetune report --from none
    """


@finetune.command("vqa")
@_training
@click.option("--source", default="vqa-rad", show_default=True, help="An imported set of questions.")
@click.option(
    "--protocol",
    type=click.Choice(["official", "image-disjoint"]),
    default="official",
    show_default=True,
    help="The set's own splits, or its images shared out anew by their hash.",
)
@click.option("--language", default="en", show_default=True, help="The questions' language; all: every one.")
@click.option(
    "--corpus",
    callback=corpora_option,
    metavar="VERSION",
    help="With --from none: learn the words of its captions, too.",
)
@click.option("--twin/--no-twin", default=True, show_default=True, help="Train NAME-blind, too, which sees no image.")
@click.pass_context
def finetune_vqa(
    ctx: click.Context, source: str, protocol: str, language: str, corpus: Any, twin: bool, **given: Any
) -> None:
    """Learn to answer questions about images: chosen among the training answers, and written word by word.

    \b
    Example:
      python cli.py finetune vqa --from swin_nano-1 --name rad
      python cli.py finetune vqa --from none --source slake --protocol image-disjoint
    """
    named = ctx.get_parameter_source("corpus") == ParameterSource.COMMANDLINE
    if named and given["origin"] not in (None, "none"):
        raise click.UsageError("--corpus goes with --from none: a run has its own words")
    data = {"source": source, "protocol": protocol, "language": language, "corpora": corpus if named else ()}
    ctx.exit(_begin(ctx, "vqa", data, twin=twin, **given))


@finetune.command("retrieval")
@_training
@click.option(
    "--corpus",
    callback=corpora_option,
    metavar="VERSION[:WEIGHT],...",
    help="Versions, with shares  [default: the current one]",
)
@click.pass_context
def finetune_retrieval(ctx: click.Context, corpus: Any, **given: Any) -> None:
    """Learn to find the image of a text and the text of an image.

    \b
    Example:
      python cli.py finetune retrieval --from swin_nano-1
    """
    ctx.exit(_begin(ctx, "retrieval", {"corpora": corpus}, **given))


@finetune.command("report")
@_training
@click.option(
    "--corpus",
    callback=corpora_option,
    metavar="VERSION[:WEIGHT],...",
    help="Versions, with shares  [default: the current one]",
)
@click.pass_context
def finetune_report(ctx: click.Context, corpus: Any, **given: Any) -> None:
    """Learn to write the caption or the report of an image.

    \b
    Example:
      python cli.py finetune report --from swin_nano-1
      python cli.py finetune report --from swin_nano-1 --corpus v1/iu-xray
    """
    ctx.exit(_begin(ctx, "report", {"corpora": corpus}, **given))


def _begin(
    ctx: click.Context,
    task: str,
    data: dict[str, Any],
    *,
    origin: str | None,
    settings: dict[str, Any],
    name: str | None,
    resume: str | None,
    db: str | None,
    processes: int | None,
    twin: bool = False,
    **given: Any,
) -> int:
    """Begin or go on; the exit code."""
    given = {key: value for key, value in given.items() if value is not None}
    if twice := given.keys() & settings.keys():
        raise click.UsageError(f"--{min(twice)} and --set {min(twice)}=...: give one of them")
    if (resume is None) == (origin is None):
        raise click.UsageError("give --from RUN (or --from none), or --resume RUN to go on with a run")
    from vlt import tune

    given |= settings
    if resume is not None:
        for option in ("name", "source", "protocol", "language", "corpus"):
            if ctx.get_parameter_source(option) == ParameterSource.COMMANDLINE:
                raise click.UsageError(f"--{option} does not go with --resume: a run goes on as it began")
        return tune.resume(resume, given | {"task": task}, db, processes, say)
    assert origin is not None
    return tune.begin(task, origin, name, data, given, db, processes, say, twin=twin and not given.get("blind"))


@click.group()
def evaluate() -> None:
    """Score a run on a task, with baselines, chance and intervals beside it.

    \b
    Example:
      python cli.py evaluate vqa --run rad
      python cli.py evaluate retrieval --run swin_nano-1
      python cli.py evaluate report --run captions
    """


@evaluate.command("vqa")
@_reading
@beams_option("How many texts the search for an answer keeps.")
@click.option(
    "--maps",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Draw where it looked for so many answers, half of them wrong.",
)
def evaluate_vqa(run: str, split: str, db: str | None, beams: int, maps: int, as_json: bool) -> None:
    """Score answers, exactly and by token F1, beside the most frequent ones and the twin without the image.

    \b
    Example:
      python cli.py evaluate vqa --run rad
      python cli.py evaluate vqa --run rad --split val --json
      python cli.py evaluate vqa --run rad --maps 20
    """
    from vlt import evaluate as evaluating

    _print(evaluating.vqa(run, split, db, beams, maps, say), as_json)


@evaluate.command("retrieval")
@_reading
@_corpus
@click.option("--k", type=click.IntRange(1), default=16, show_default=True, help="How many candidates ITM ranks again.")
@click.option("--exact", is_flag=True, help="Rank by ITM of every image with every text, too; slow.")
@click.option("--limit", type=click.IntRange(2), help="Take so many evenly spaced pairs of a larger split.")
def evaluate_retrieval(run: str, split: str, db: str | None, as_json: bool, corpus: str | None, **how: Any) -> None:
    """Score retrieval by R@1, 5, 10 and the median rank, image to text and back, by ITC and re-ranked by ITM.

    \b
    Example:
      python cli.py evaluate retrieval --run swin_nano-1
      python cli.py evaluate retrieval --run found --k 32 --json
    """
    from vlt import evaluate as evaluating

    _print(evaluating.retrieval(run, split, corpus, db, **how, say=say), as_json)


@evaluate.command("report")
@_reading
@_corpus
@beams_option("How many texts the search keeps; 1: greedy.")
@click.option(
    "--length-penalty",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Above 1 prefers longer texts, below 1 shorter ones.",
)
@click.option(
    "--no-repeat",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="No run of so many tokens comes twice; 0: any may.",
)
@click.option("--limit", type=click.IntRange(2), help="Take so many evenly spaced pairs of a larger split.")
def evaluate_report(
    run: str,
    split: str,
    db: str | None,
    as_json: bool,
    corpus: str | None,
    beams: int,
    length_penalty: float,
    no_repeat: int,
    limit: int | None,
) -> None:
    """Score captions by BLEU, ROUGE-L, CIDEr, METEOR and clinical F1, beside the best constant text.

    \b
    Example:
      python cli.py evaluate report --run captions
      python cli.py evaluate report --run captions --beams 1 --limit 500 --json
    """
    from vlt import decode
    from vlt import evaluate as evaluating

    search = decode.Search(beams, length_penalty, no_repeat)
    _print(evaluating.report(run, split, corpus, db, search, limit, say), as_json)


def _print(found: Any, as_json: bool) -> None:
    click.echo(json.dumps(found.result) if as_json else "\n".join(found.lines))
    click.echo(f"kept in {Path(found.folder)}", err=True)


COMMANDS = (finetune, evaluate)
