"""The commands of training and use: pretrain, runs, predict, embed, score, demo. Each parses, calls, prints."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

SIZES = {
    "swin": {"nano": "swin_nano", "tiny": "swin_t", "small": "swin_s", "base": "swin_b"},
    "vit": {
        "pico": "vit_pico",
        "nano": "vit_nano",
        "tiny": "vit_ti_16",
        "small": "vit_s_16",
        "base": "vit_b_16",
        "large": "vit_l_16",
    },
    "resnet": {
        "pico": "resnet_pico",
        "nano": "resnet_nano",
        "tiny": "resnet18",
        "small": "resnet50",
        "base": "resnet101",
    },
}


def _objectives(_: click.Context, __: click.Parameter, value: str | None) -> dict[str, float] | None:
    """mlm,itm:0.5 -> {"mlm": 1.0, "itm": 0.5}"""
    if value is None:
        return None
    found = {}
    for part in value.split(","):
        name, colon, weight = part.strip().partition(":")
        try:
            found[name] = float(weight) if colon else 1.0
        except ValueError:
            raise click.BadParameter(f"{part!r}: give NAME or NAME:WEIGHT") from None
    return found


def corpora_option(_: click.Context, __: click.Parameter, value: str | None) -> list[tuple[str | None, float]]:
    """v1:0.7,v2:0.3 -> [("v1", 0.7), ("v2", 0.3)]; none: the current version"""
    found: list[tuple[str | None, float]] = []
    for part in value.split(",") if value else []:
        name, _colon, weight = part.strip().rpartition(":")
        try:
            share = float(weight) if name else 1.0
        except ValueError:
            share = math.nan
        if not (share > 0 and math.isfinite(share)):
            raise click.BadParameter(f"{part!r}: a weight is a number above 0 (of a name with a colon: NAME:1)")
        found.append((name or weight, share))
    return found or [(None, 1.0)]


def settings_of(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """("rate=1e-3", "augment=false") -> {"rate": 0.001, "augment": False}"""
    found = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r}: give NAME=VALUE")
        try:
            found[name.strip()] = json.loads(text)
        except ValueError:
            found[name.strip()] = text
    return found


def beams_option(says: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--beams, of a search for texts."""
    return click.option("--beams", type=click.IntRange(1, 64), default=3, show_default=True, help=says)


def known_runs(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """For the shell: the names of the runs in runs/ here."""
    return sorted(path.parent.name for path in Path("runs").glob("*/config.json") if path.parent.name.startswith(begun))


MOST_SEED = 2**63 - 1
PRECISION = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    help="Of the computation  [default: auto, by the device]",
)


@click.command()
@click.option("--backbone", type=click.Choice(list(SIZES)), help="What reads the image  [default: swin]")
@click.option(
    "--size",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "pico", "nano", "tiny", "small", "base", "large"]),
    help="Of the backbone; auto: nano on a CPU, small on CUDA.",
)
@click.option(
    "--objectives", callback=_objectives, metavar="mlm,itm:0.5,...", help="Any of mlm, itm, itc, lm, with weights."
)
@click.option("--fusion", type=click.Choice(["cross", "merged"]), help="Two streams that read each other, or one.")
@click.option("--mask", type=click.Choice(["bidirectional", "seq2seq"]), help="What MLM's words may see.")
@click.option(
    "--corpus",
    callback=corpora_option,
    metavar="VERSION[:WEIGHT],...",
    help="Versions, with shares  [default: the current one]",
)
@click.option("--preset", type=click.Choice(["paper"]), help="Settings to begin with  [default: auto, by the device]")
@click.option(
    "--set", "settings", multiple=True, callback=settings_of, metavar="NAME=VALUE", help="Any setting of a run."
)
@click.option("--steps", type=click.IntRange(1), help="How many batches to learn from.")
@click.option("--seed", type=click.IntRange(0, MOST_SEED), help="What chance follows from.")
@PRECISION
@click.option("--compile/--no-compile", default=None, help="torch.compile; for CUDA.")
@click.option("--blind", is_flag=True, default=None, help="A twin that sees blank images, to compare with.")
@click.option(
    "--init-backbone",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Begin with torchvision's weights, from its file.",
)
@click.option(
    "--init-text",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Begin with BERT's weights and words, from its folder.",
)
@click.option("--name", metavar="NAME", help="The run's name  [default: from the backbone, numbered]")
@click.option("--resume", metavar="RUN", shell_complete=known_runs, help="Go on with an interrupted run.")
@click.option("--db", metavar="DB", help="The corpus's database, a file or a URL  [default: the one built last]")
@click.option(
    "--processes",
    type=click.IntRange(1),
    help="On a CPU: how many, of a thread each  [default: one a core for nano, else one]",
)
@click.pass_context
def pretrain(
    ctx: click.Context,
    backbone: str | None,
    size: str,
    corpus: list[tuple[str | None, float]],
    preset: str | None,
    settings: dict[str, Any],
    init_backbone: Path | None,
    init_text: Path | None,
    name: str | None,
    resume: str | None,
    db: str | None,
    processes: int | None,
    **given: Any,
) -> None:
    """Pre-train a model on a corpus version; interrupted, it goes on with --resume.

    On a CPU the size is nano, on CUDA the paper's. All is kept in runs/NAME/; docs/pretrain.md tells the settings.
    Several cards: torchrun --nproc-per-node 8 cli.py pretrain ...

    \b
    Example:
      python cli.py pretrain --backbone swin
      python cli.py pretrain --backbone vit --objectives mlm,itm,itc:0.5 --steps 500 --name trial
      python cli.py pretrain --resume trial
    """
    if resume:
        _refuse_with_resume(ctx)
    from vlt import start

    given = {key: value for key, value in given.items() if value is not None}
    options = given.keys() | ({"backbone"} if backbone else set())
    if twice := options & settings.keys():
        raise click.UsageError(f"--{min(twice)} and --set {min(twice)}=...: give one of them")
    given |= settings
    ctx.exit(
        start.resume(resume, given | {"task": "pretrain"}, db, processes, say)
        if resume
        else start.begin(name, backbone, size, preset, given, corpus, db, init_backbone, init_text, processes, say)
    )


@click.command("runs")
@click.argument("names", metavar="[RUN]...", nargs=-1, shell_complete=known_runs)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def runs_(names: tuple[str, ...], as_json: bool) -> None:
    """List the runs, or compare some: their scores, and the settings in which they differ.

    \b
    Example:
      python cli.py runs
      python cli.py runs swin_nano-1 vit_nano-1
    """
    from vlt import runs

    found = runs.listed(names)
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(runs.render(found)))


@click.command()
@click.option(
    "--run",
    required=True,
    metavar="RUN",
    shell_complete=known_runs,
    help="A run's name or folder, or a model.safetensors.",
)
@click.option("--question", help="Answer this instead; fill in each [MASK] in it.")
@click.option("--choices", help="The answers to choose from, with commas between.")
@beams_option("How many texts the search for a caption keeps.")
@click.option(
    "--map", "map_", type=click.Path(dir_okay=False, path_type=Path), help="Draw where it looked, as a PNG file."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
def predict(
    run: str,
    question: str | None,
    choices: str | None,
    beams: int,
    map_: Path | None,
    as_json: bool,
    images: tuple[Path, ...],
) -> None:
    """Caption images, or answer a question about each.

    \b
    Example:
      python cli.py predict --run swin_nano-1 scan.png
      python cli.py predict --run swin_nano-1 --question "A [MASK] in the left lobe." scan.png
      python cli.py predict --run swin_nano-1 --map where.png scan.png
    """
    from corpus_db import read
    from vlt import predict as using

    model = using.load(run)
    options = [choice.strip() for choice in choices.split(",")] if choices else []
    if options and question is None:
        raise click.UsageError("--choices goes with --question")
    if map_ and len(images) > 1:
        raise click.UsageError(f"--map draws one image's map; {len(images)} are given")
    if question is not None and "[MASK]" not in question and not options and model.fills:
        say("no [MASK] in the question: write it where a word is to be filled in; without one the text is gone on with")
    bad = 0
    for image in images:
        try:
            pixels = read.image(image)
        except read.UserError as error:  # the others are still captioned
            bad += 1
            click.echo(f"Error: {error}", err=True)
            continue
        said = model.caption(pixels, beams) if question is None else model.answer(pixels, question, options)
        click.echo(json.dumps({"image": str(image), "text": said}) if as_json else f"{image}\t{said}")
        if map_:
            from vlt import attention_maps

            attention_maps.draw_prediction(map_, model, pixels, said, question, options)
    sys.exit(1 if bad else 0)


@click.command()
@click.option(
    "--run",
    required=True,
    metavar="RUN",
    shell_complete=known_runs,
    help="A run's name or folder, or a model.safetensors.",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A NumPy file (n, D) instead.")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
def embed(run: str, output: Path | None, images: tuple[Path, ...]) -> None:
    """Embed images: one JSON line each, or all in a NumPy file.

    \b
    Example:
      python cli.py embed --run swin_nano-1 scan.png
      python cli.py embed --run swin_nano-1 -o vectors.npy scans/*.png
    """
    from vlt import predict as using

    vectors = using.load(run).embed(images)["image"]
    if output is None:
        for image, vector in zip(images, vectors.tolist(), strict=True):
            click.echo(json.dumps({"image": str(image), "embedding": vector}))
        return
    using.write_array(vectors.numpy(), output)
    click.echo(f"{output}: {len(images)} vector{'s' * (len(images) != 1)} of {vectors.shape[1]} numbers")


@click.command()
@click.argument("references", metavar="REFS", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("hypotheses", metavar="HYPS", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--raw", is_flag=True, help="Take the texts as they are; else words and punctuation are set apart.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def score(references: Path, hypotheses: Path, raw: bool, as_json: bool) -> None:
    """Score texts against references: BLEU-1..4, ROUGE-L, CIDEr, METEOR, clinical-term F1.

    Each file is JSON, {id: [text, ...]} or {id: text}: any number of references, one hypothesis an id.

    \b
    Example:
      python cli.py score refs.json hyps.json
      python cli.py score refs.json hyps.json --json
    """
    from vlt.metrics import score as scoring

    found = scoring.score(references, hypotheses, raw)
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(scoring.render(found)))


def _refuse_with_resume(ctx: click.Context) -> None:
    """UsageError for an option that chooses what a run, once begun, has chosen for good."""
    for name in ("backbone", "size", "corpus", "preset", "init_backbone", "init_text", "name"):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} does not go with --resume: a run goes on as it began")


def say(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)  # a bar makes room for it
    sys.stderr.flush()


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

    Under six minutes of a core's work, shared by two. Interrupted, the same command goes on; docs/commands.md has more.

    \b
    Example:
      python cli.py demo
      python cli.py demo -o ~/rgc-demo
    """
    from corpus_db.read import data_folder
    from vlt import demo as showing

    home = (output or data_folder() / "demo").absolute()
    try:
        addresses = showing.demo(home, Path(sys.argv[0]).resolve(), click.echo)
    except showing.Stopped as stop:
        click.echo("the demo goes on with the same command", err=True)
        ctx.exit(stop.code)
    click.echo(f"reports: {'  '.join(addresses)}")


COMMANDS = (pretrain, runs_, predict, embed, score, demo)
