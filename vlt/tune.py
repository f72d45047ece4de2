"""Begin fine-tuning: from a run's model and vocabulary, or from scratch, on questions or on corpus versions."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from corpus_db.read import UserError, version
from vlt import device, leaks, predict, runs, start
from vlt.config import Config
from vlt.tasks import questions
from vlt.tasks.base import Task
from vlt.tasks.tuning import Reporting, Retrieving
from vlt.tasks.vqa import Answering
from vlt.text import Tokenizer

Say = Callable[[str], None]
SCRATCH = "none"
TWIN = "-blind"  # behind a run's name
DEFAULTS: dict[str, dict[str, Any]] = {
    "vqa": {"objectives": {"answer": 1.0, "lm": 0.5}, "steps": 800, "evaluate_every": 100, "patience": 4},
    "retrieval": {"objectives": {"itm": 1.0, "itc": 1.0}, "steps": 500, "evaluate_every": 100, "patience": 3},
    "report": {"objectives": {"lm": 1.0}, "steps": 500, "evaluate_every": 100, "patience": 3},
}
_OF_ALL = {"rate": 1e-3, "head_rate": 2.0, "hard_batches": 0.0, "itm_hard": 0.0, "checkpoint_every": 100}
_NEEDED = {"vqa": ("answer", "lm"), "retrieval": ("itc",), "report": ("lm",)}  # objectives, one of them
LEAST_TOKENS = 16  # that hold a question and its answer
# What a model is, as against how it learns: a fine-tuned model keeps it.
MODEL = (
    *("backbone", "image_size", "channels", "width", "heads", "text_layers"),
    *("fusion", "fusion_layers", "max_tokens", "vocab_size", "mask"),
)


def begin(
    task: str,
    origin: str,
    name: str | None,
    data: Mapping[str, Any],
    given: Mapping[str, Any],
    db: str | None,
    processes: int | None,
    say: Say,
    twin: bool = False,
) -> int:
    """Make a new run that is fine-tuned and train it to its end; returns the exit code.

    `origin`: a run, or SCRATCH. `data`: for vqa `source`, `protocol`, `language`; else `corpora`, as `start.begin` has
    them. `given`: settings of the config; from a run those of the model itself are the run's. With `twin` NAME-blind
    follows, the same but that it sees blank images, in training, too.
    """
    place = device.start()
    say = say if place.rank == 0 else lambda line: None
    source = None if origin == SCRATCH else predict.load(origin, "cpu")
    db = db or _database(origin)
    config = settings(task, source.config if source else None, given)
    start.check(name, config, (), processes)
    file = None if source is None else predict.file_of(origin).resolve()
    name = name or runs.free_name(f"{task}-{file.parent.name if file else origin}")
    if twin and (runs.RUNS / f"{name}{TWIN}").exists():
        raise UserError(f"{runs.RUNS / name}{TWIN}: there is such a run, where the twin would be; give another --name")
    made, tokenizer = _task(task, origin, config, source, data, db, say)
    doubts = leaks.unchecked(made.questions, origin, db, say) if source and isinstance(made, Answering) else []
    weights = {"run": str(file) if file else None}
    run = start.make(name, config, tokenizer, weights, made, say, doubts)
    both = [run]
    if twin:  # before the run is trained: what is interrupted goes on with both
        blind = config.changed(blind=True)
        both.append(start.make(f"{name}{TWIN}", blind, tokenizer, weights, made, lambda line: None, doubts))
    with start.out_of_the_way(both, say):
        code = start.carry_out(run, made, db, processes, say)
    return code or _twin(run, db, processes, say)


def resume(name: str, given: dict[str, Any], db: str | None, processes: int | None, say: Say) -> int:
    """Go on with a run and with its twin; see `start.resume`."""
    run = runs.open_run(name)
    return start.resume(name, given, db, processes, say) or _twin(run, db, processes, say)


def twin_of(run: runs.Run) -> Path:
    """The folder of a run's twin, where it has one."""
    return run.folder.with_name(f"{run.folder.name}{TWIN}")


def _twin(run: runs.Run, db: str | None, processes: int | None, say: Say) -> int:
    """Train a run's twin to its end, where it has one that is not."""
    twin = twin_of(run)
    if not (twin / "config.json").is_file() or (twin / predict.FILE).is_file():
        return 0
    say("its twin without images:")
    return start.resume(str(twin), {"blind": True}, db, processes, say)


def settings(task: str, source: Config | None, given: Mapping[str, Any]) -> Config:
    """The config of a fine-tuning: the model's own settings from the run, how it learns from the task's defaults."""
    if unknown := sorted(set(given) - set(Config.__dataclass_fields__)):
        raise UserError(f"--set {unknown[0]}: no such setting; docs/evaluate.md tells them")
    fixed = {name: getattr(source, name) for name in MODEL} if source is not None else {}
    if changed := [name for name in fixed if name in given and given[name] != fixed[name]]:
        raise UserError(
            f"{changed[0]} {given[changed[0]]!r}: the run's model has {fixed[changed[0]]!r}, and a model stays what it "
            "is; leave this out, or give --from none"
        )
    config = Config(**(_OF_ALL | DEFAULTS[task] | fixed | dict(given) | {"task": task}))
    learnt, needed = config.objectives, _NEEDED[task]
    if not set(needed) & set(learnt) or ("answer" in learnt and task != "vqa"):
        raise UserError(f"objectives {', '.join(learnt)}: {task} learns {' or '.join(needed)}; answer is vqa's alone")
    if task == "vqa" and config.max_tokens < LEAST_TOKENS:
        raise UserError(f"max_tokens {config.max_tokens}: a question and its answer need {LEAST_TOKENS} or more")
    return config


def _task(
    task: str,
    origin: str,
    config: Config,
    source: predict.Model | None,
    data: Mapping[str, Any],
    db: str | None,
    say: Say,
) -> tuple[Task, Tokenizer]:
    """The task with its data, and its vocabulary."""
    if task != "vqa":
        corpora = [runs.Corpus(version(key, db), weight) for key, weight in data["corpora"]]
        start.check(None, config, corpora, None)
        start.refuse_leaks(corpora, db)
        made = Retrieving(corpora) if task == "retrieval" else Reporting(corpora)
        return made, source.tokenizer if source else start.vocabulary(corpora, config)
    asked = questions.question_set(data["source"], data["protocol"], data["language"], db, blank=config.blind)
    for line in told(asked):
        say(line)
    answers = asked.answers if "answer" in config.objectives else []
    tokenizer = source.tokenizer if source else _words(asked, config, data, db)
    return Answering(asked, answers), tokenizer


def _database(origin: str) -> str | None:
    """Where the data of a run lie, which a fine-tuning of it looks at where the user names none."""
    try:
        found = None if origin == SCRATCH else str(runs.open_run(origin).corpora[0]["database"])
    except UserError:  # a file of weights alone
        return None
    return None if found is None or "***" in found else found  # a URL's password is not kept


def _words(asked: questions.QuestionSet, config: Config, data: Mapping[str, Any], db: str | None) -> Tokenizer:
    """From scratch: the words of the training questions, and of a corpus's training captions where one is named."""
    texts = [text for one in asked.splits["train"] for text in (one.question, one.answer)]
    for key, _ in data.get("corpora", ()):
        texts += [pair.caption for pair in version(key, db).pairs if pair.split == "train"]
    return Tokenizer.train(texts, config.vocab_size)


def told(asked: questions.QuestionSet) -> list[str]:
    """What a user should know of a question set before believing its numbers."""
    counts = ", ".join(f"{len(some)} to {name}" for name, some in asked.splits.items())
    lines = [f"{asked.name}: {counts}"]
    for why, ids in asked.left_out.items():
        lines.append(f"{len(ids)} questions are left out ({why}), the first: {ids[0]}")
    if shared := questions.shared_images(asked):
        test = len({questions.image_of(one) for one in asked.splits["test"]})
        lines.append(
            f"this protocol leaks: {shared} of {test} test images stand in training, too; "
            "--protocol image-disjoint does not"
        )
    return lines
