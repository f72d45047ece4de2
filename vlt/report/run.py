"""The page about a run: how it learned, what it scored, what it said, where it comes from and how to repeat it."""

import math
import shlex
from collections.abc import Sequence
from typing import Any

from vlt import predict, runs
from vlt.report import curves, lineage, measured, predictions, results

TASKS = {
    "pretrain": "Pre-training",
    "vqa": "Answering questions",
    "retrieval": "Retrieval",
    "report": "Writing captions or reports",
}
CHOSEN_BY = {"accuracy": "exact match, validation", "recall": "mean recall, validation"}  # the best is kept
CHOSEN_BY |= {"likelihood": "log-probability of a token, validation"}


def gathered(name: str, public: bool = False, db: str | None = None) -> dict[str, Any]:
    """All that the template shows of a run; see `vlt.report.write`."""
    run = runs.open_run(name)
    found, evaluations, line = measured.read(run), results.read(run), lineage.line_of(run)
    finished = (run.folder / predict.FILE).is_file()
    return {
        "run": run,
        "name": run.folder.name,
        "task": TASKS.get(run.config.task, run.config.task),
        "told_numbers": _numbers(run, found, finished),
        "warnings": _warnings(run, found, finished),
        "public": public,
        "charts": list(measured.groups(found)),
        "gaps": measured.last_gaps(found.evals),
        "matching": measured.last_matching(found.evals),
        "evaluations": [(one, _extremes(run, one, public, db)) for one in evaluations],
        "evaluate": f"python cli.py evaluate {_evaluated_as(run)} --run {shlex.quote(run.folder.name)}",
        "line": line,
        "tasks": TASKS,
        "data": lineage.data,
        "dirty": lineage.DIRTY,
        "commands": lineage.commands(line, evaluations),
        "not_noted": lineage.NOT_NOTED,
        "hashes": lineage.hashes(line),
        "settings": lineage.settings(run),
        "packages": lineage.packages(line[-1].environment),
        "looks": curves,
    }


def _extremes(run: runs.Run, one: results.Evaluated, public: bool, db: str | None) -> predictions.Extremes:
    if public:
        return predictions.Extremes(notes=["What it said is left out: this page may be shown in public."])
    return predictions.extremes(run, one, db)


def _evaluated_as(run: runs.Run) -> str:
    return run.config.task if run.config.task != "pretrain" else "retrieval"


def _numbers(run: runs.Run, found: measured.Measured, finished: bool) -> list[tuple[str, str, str]]:
    config = run.config
    parameters = found.start.get("parameters")
    rows = [("step", f"{found.step:,}", f"of {config.steps:,}{', finished' if finished else ''}")]
    if isinstance(parameters, (int, float)):
        rows.append(("parameters", f"{parameters / 1e6:.2f} M", config.backbone))
    for name, told in CHOSEN_BY.items():
        if values := [record[name] for record in found.evals if math.isfinite(record.get(name, math.nan))]:
            rows.append((told, curves.number(max(values)), "the best, which is kept"))
    if gaps := [record["gap"] for record in found.evals if "gap" in record]:
        rows.append(("grounding gap", curves.number(gaps[-1]), "the last one"))
    if pace := found.images_per_s:
        rows.append(("images a second", curves.number(pace), f"the mean of all steps, {found.seconds / 60:.1f} min"))
    rows.append(("seed", str(config.seed), f"on {found.start.get('device', 'a device not noted')}"))
    return rows


def _warnings(run: runs.Run, found: measured.Measured, finished: bool) -> Sequence[str]:
    lines = []
    if not finished:
        lines.append(
            f"Its training has not ended: step {found.step:,} of {run.config.steps:,}. Go on with: {run.resume_command}"
        )
    if found.broken is not None:
        lines.append(f"Its loss is no number (NaN or infinite) from step {found.broken:,} on: what it learned is void.")
    if run.config.blind:
        lines.append("This is a twin that sees blank images: it shows what can be known without looking.")
    lines += [f"Unchecked when it began: {what}." for what in run.unchecked]
    if found.unread:
        lines.append(f"{found.unread:,} lines of metrics.jsonl are no records and are left out.")
    if not found.records:
        lines.append("Nothing was measured yet.")
    return lines
