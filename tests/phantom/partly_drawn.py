"""The sample site as `crawl --site sample` has it, but that only the cases it fetches first have their images.

A crawl of so many cases cannot tell: cases are listed all, and it asks for them in the order of their ids.
"""

import json
from pathlib import Path

from corpus_db.workers import processes
from rgc.phantom.draw import draw_case
from rgc.phantom.plan import plan_sample
from rgc.phantom.recipe import Recipe
from rgc.phantom.records import encounter_record, topic_records


def write(folder: Path, cases: int, recipe: Recipe | None = None, workers: int = 2) -> Path:
    """Write the site of a recipe into a new folder, with the images of the first so many cases by id; returns it."""
    recipe = recipe or Recipe()
    plans = plan_sample(recipe)
    (folder / "images").mkdir(parents=True)
    first = sorted(plans, key=lambda case: case.case_id)[:cases]
    with processes(workers) as pool:
        list(pool.map(_draw, *zip(*((recipe, case.index, folder) for case in first), strict=True), chunksize=6))
    encounters = [encounter_record(recipe, case) for case in plans]
    topics = topic_records(recipe, {str(one["topicID"]) for one in encounters})
    for name, rows in (("encounters", encounters), ("topics", topics), ("truth", [])):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


def _draw(recipe: Recipe, index: int, folder: Path) -> None:
    for name, data, _ in draw_case(recipe, index)[1]:
        (folder / "images" / name).write_bytes(data)
