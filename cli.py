"""The command line: parse, call, print. What a command does is in the package that it calls."""

import importlib.util
import os
import sys
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent


def hand_over() -> None:
    """Go on in the project's own .venv where this interpreter lacks what the project needs."""
    if all(importlib.util.find_spec(name) for name in ("click", "sqlmodel", "scrapy")):
        return
    python = HERE / ".venv" / "bin" / "python"
    if python.exists() and Path(sys.prefix).resolve() != (HERE / ".venv").resolve():
        os.execv(str(python), [str(python), str(HERE / "cli.py"), *sys.argv[1:]])
    sys.exit("run: make install")


if __name__ == "__main__":
    hand_over()

from typing import TYPE_CHECKING, Any

import click

from corpus_db import browse_commands as looking
from corpus_db import commands as keeping
from corpus_db import recent
from corpus_db.console import (
    Commands,
    chosen,
    database_option,
    filled_database_option,
    json_option,
    known_versions,
    notice,
    reading,
    show,
    writing,
)
from rgc import commands as getting
from vlt import commands as training
from vlt import study_commands as studying
from vlt import task_commands as tuning

if TYPE_CHECKING:
    from corpus_db.records import Readers


def readers() -> "Readers":
    """What reads a source's raw records, by the source's shape."""
    from corpus_db import importers
    from rgc.parse import read

    return {"medpix": read, **importers.readers()}


def _specs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    specs = tuple(spec.strip() for value in values for spec in value.split(","))
    for spec in specs:  # an empty one is most likely a variable that is not set: building without it would leak
        source, colon, split = spec.partition(":")
        if not source or (colon and not split):
            raise click.BadParameter(f"{spec!r}: name a set, as vqa-rad, or one of its splits, as vqa-rad:test")
    return specs


PROGRAM, VARIABLE = "rgc-vlt", "_RGC_VLT_COMPLETE"  # pyproject.toml's script, and where click looks for its name
SECTIONS = {
    "Begin": ("demo", "doctor", "completion"),
    "Get images and captions": ("crawl", "import", "sample", "clean"),
    "Make versions": ("build", "audit", "versions", "use", "diff", "tag", "verify", "export"),
    "Look and judge": ("stats", "sql", "search", "explain", "report", "browse", "review"),
    "Take away": ("purge", "gc"),
    "Train and use models": ("pretrain", "finetune", "evaluate", "runs", "predict", "embed", "study", "score"),
}


@click.group(
    cls=Commands, sections=SECTIONS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
def main() -> None:
    """From a MedPix site to a versioned corpus of radiology images and captions that answers SQL.

    \b
    Example:
      python cli.py crawl --site sample && python cli.py build
      python cli.py sql "SELECT modality, count(*) FROM rgc GROUP BY modality"
    """


@main.command()
@click.option("--name", metavar="NAME", help="The version's name  [default: v1, v2, ...]")
@click.option(
    "--exclude",
    "excluding",
    multiple=True,
    callback=_specs,
    metavar="SOURCE[:SPLIT],...",
    help="Leave out what an imported evaluation set holds, with the cases of its images.",
)
@click.option("--whole-cases/--images-only", default=True, help="With --exclude: the case too, or the images alone.")
@click.option("--no-audit", is_flag=True, help="Do not prove the new version; it may leak.")
@json_option
@filled_database_option
def build(
    name: str | None, excluding: tuple[str, ...], whole_cases: bool, no_audit: bool, as_json: bool, db: str | None
) -> None:
    """Curate what was crawled into a new version: clean, label, de-duplicate, split, freeze, audit.

    \b
    Example:
      python cli.py build --name first
      python cli.py build --exclude vqa-rad:test
    """
    from corpus_db import build as building
    from corpus_db.build_output import render_build

    db = chosen(db, "crawled", "built")
    with writing(db) as engine:
        options: dict[str, Any] = {"excluding": excluding, "whole_cases": whole_cases, "audited": not no_audit}
        result = building.build(engine, readers(), name, **options, say=notice)
        recent.remember("built", db)
    show(result if not as_json else vars(result), as_json, render_build)


@main.command()
@click.argument("version", required=False, shell_complete=known_versions)
@click.option("--min-words", type=click.IntRange(0), default=3, show_default=True, help="Note shorter captions.")
@click.option("--min-pixels", type=click.IntRange(0), default=64, show_default=True, help="Note smaller images.")
@json_option
@database_option
@click.pass_context
def audit(
    ctx: click.Context, version: str | None, min_words: int, min_pixels: int, as_json: bool, db: str | None
) -> None:
    """Prove a version anew from image bytes and raw records: nothing leaks, nothing is missing or altered.

    Ends with exit code 1 where a check that counts fails.

    \b
    Example:
      python cli.py audit
      python cli.py audit v1 --json
    """
    from corpus_db import audit as auditing

    limits = {"min_words": min_words, "min_pixels": min_pixels}
    with reading(db) as engine:
        found = auditing.audit(engine, version, readers=readers(), **limits, say=notice)
    show(found if not as_json else auditing.plain(found), as_json, auditing.render_audit)
    ctx.exit(1 if found.failed else 0)


@main.command()
@click.argument("key", metavar="PAIR")
@click.option(
    "--version",
    metavar="VERSION",
    shell_complete=known_versions,
    help="As the build of this version left it  [default: the last build]",
)
@json_option
@database_option
def explain(key: str, version: str | None, as_json: bool, db: str | None) -> None:
    """Tell all that is known of a pair: where it came from, what was done to it, and where it went.

    PAIR is a pair's id, an upstream image id or name, or the beginning of one.

    \b
    Example:
      python cli.py explain synpic54610
    """
    from corpus_db import explain as explaining
    from corpus_db.explain_output import render_explain

    with reading(db) as engine:
        show(explaining.explain(engine, key, readers(), version), as_json, render_explain)


@main.command()
@click.argument("key", metavar="PAIR")
@click.option("--why", required=True, metavar="TEXT", help="For the record: who asked, on what ground.")
@json_option
@database_option
def purge(key: str, why: str, as_json: bool, db: str | None) -> None:
    """Take a pair down for good, in every version: its texts, its image, and what a later crawl would bring back.

    \b
    Example:
      python cli.py purge synpic54610 --why "patient's request of 2026-11-01"
    """
    from corpus_db import purge as purging

    if not why.strip():
        raise click.BadParameter("say why: it stays for the record", param_hint="--why")
    with writing(db) as engine:
        found = purging.purge(engine, key, why, readers())
    show(found if not as_json else vars(found), as_json, purging.render_purged)


@main.command()
@click.argument("version", required=False, shell_complete=known_versions)
@click.argument("other", required=False, shell_complete=known_versions)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.html", help="Where the page goes."
)
@click.option("--public", is_flag=True, help="Leave out what must not be published: texts as they came, and images.")
@click.option("--with-images", is_flag=True, help="With --public: images all the same; mind the sources' licences.")
@click.option("--run", metavar="RUN", help="A page about a run instead: how it learned, what it scored and said.")
@click.option("--study", metavar="NAME", help="A page about a study instead, by its folder in runs/studies/.")
@json_option
@database_option
def report(
    version: str | None,
    other: str | None,
    output: Path,
    public: bool,
    with_images: bool,
    run: str | None,
    study: str | None,
    as_json: bool,
    db: str | None,
) -> None:
    """Write one self-contained page on a version, on how OTHER differs from VERSION, on a run or on a study.

    \b
    Example:
      python cli.py report -o corpus.html
      python cli.py report v1 v2 -o changes.html
      python cli.py report --run rad -o run.html
      python cli.py report --study objectives-vqa-rad -o study.html
    """
    from corpus_db import page

    page.check_target(output)
    if run is not None or study is not None:
        if version or with_images or None not in (run, study):
            raise click.UsageError(
                "--run RUN and --study NAME stand alone: without a version or --with-images, not both"
            )
        from vlt import report as training_report

        wrote = training_report.write(output, run, study, public=public, db=db)
        show(wrote, as_json, training_report.render)
        return
    from corpus_db.report import make as reporting

    with reading(db) as engine:
        made = reporting.report(engine, output, version, other, public=public, with_images=with_images, say=notice)
    show(made if not as_json else vars(made), as_json, reporting.render_made)


@main.command()
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
    from corpus_db import doctor as looking

    found = looking.examine()
    show(found if not as_json else [asdict(one) for one in found], as_json, looking.render)
    ctx.exit(1 if any(one.state == "missing" for one in found) else 0)


@main.command()
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


for _part in (getting, keeping, looking, training, tuning, studying):
    for _command in _part.COMMANDS:
        main.add_command(_command)

if __name__ == "__main__":
    main(prog_name="python cli.py")
