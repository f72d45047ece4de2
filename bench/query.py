"""Time each question of docs/query.md on a synthetic corpus of 100,000 pairs, with our indices and without them.

    python bench/query.py [PAIRS] [postgresql+psycopg://user@host/empty_database]

The rows are drawn from a fixed seed and inserted straight into the tables; captions are of a skewed vocabulary. Without
a URL the corpus is an SQLite file in a temporary folder. The peer is the same statement after every index but the
primary and unique keys was dropped. Prints a table of medians of five runs, in milliseconds: of the processor for
SQLite, which runs in this process and shares the machine; of the clock for PostgreSQL.
"""

import hashlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sqlalchemy import Engine, text  # noqa: E402
from sqlmodel import SQLModel  # noqa: E402

from corpus_db import db, sql  # noqa: E402
from corpus_db.models import now  # noqa: E402
from corpus_db.questions import PAGE, questions  # noqa: E402
from corpus_db.version import insert_rows, make_current  # noqa: E402

SEED, RUNS, LIMIT_MS = 1, 5, 100
IMAGES_A_CASE = 4
DRAWN: dict[str, tuple[tuple[str | None, int], ...]] = {  # value, weight
    "modality": (("CT", 45), ("MR", 30), ("DX", 14), ("US", 7), ("NM", 4)),
    "plane": (("axial", 60), ("coronal", 18), ("sagittal", 15), (None, 7)),
    "region": (("brain", 30), ("abdomen", 20), ("chest", 20), ("spine", 10), ("lower limb", 10), (None, 10)),
    "laterality": ((None, 50), ("right", 20), ("left", 20), ("bilateral", 10)),
    "split": (("train", 80), ("val", 10), ("test", 10)),
}
VOTES = (("modality", "upstream"), ("modality", "text"), ("plane", "upstream"), ("region", "text"))
RULES = ("whitespace", "final_stop", "lines", "laterality", "unicode", "deid_date", "deid_name", "deid_age", "quiz")
REASONS = ("template", "placeholder", "empty", "not_radiology", "duplicate", "cross_reference_only")
FINDINGS = (
    *("mass", "effusion", "fluid", "kidney", "left", "right", "lesion", "enhancement", "fracture", "lobe", "with"),
    *("the", "of", "and", "in", "shows", "no", "hyperintense", "signal", "wall", "bowel", "lung", "spleen", "acute"),
)
Row = dict[str, Any]


def pairs_of(count: int) -> list[Row]:
    """Frozen rows; one caption in ten and one image in fifty is an earlier pair's."""
    draws = random.Random(SEED)
    rows: list[Row] = []
    for number in range(count):
        earlier = draws.choice(rows) if rows else None
        caption = earlier["caption"] if earlier and draws.random() < 0.1 else _caption(draws)
        sha256 = earlier["sha256"] if earlier and draws.random() < 0.02 else f"{number:064x}"
        case = f"bench:case{number // IMAGES_A_CASE}"
        drawn = {name: _one_of(draws, choices) for name, choices in DRAWN.items()}
        rows.append(
            {
                **drawn,
                **{"version_id": 1, "pair_id": f"bench:{number}", "image_path": f"images/{sha256}.png"},
                **{"sha256": sha256, "caption": caption, "case_id": case, "split_group": case, "patient_key": None},
                **{"caption_group": hashlib.sha256(caption.encode()).hexdigest()[:16], "source": "bench"},
                **{"source_id": str(number), "upstream_name": f"synpic{number}", "title": case, "diagnosis": "Glioma"},
                **{"credit": "A. Author" if number % 3 else None, "licence": None, "duplicate_cluster": sha256[-16:]},
            }
        )
    return rows


def _one_of(draws: random.Random, weighted: tuple[tuple[str | None, int], ...]) -> str | None:
    return draws.choices([value for value, _ in weighted], [weight for _, weight in weighted])[0]


def _caption(draws: random.Random) -> str:
    words = draws.choices(FINDINGS, k=min(200, 2 + int(draws.expovariate(1 / 20))))
    return " ".join([*words, f"word{int(draws.paretovariate(0.7)) % 20_000}"])


def crawled(pairs: list[Row]) -> Iterator[tuple[str, list[Row]]]:
    """What a crawl leaves: one resource in fifty did not arrive."""
    cases = sorted({row["case_id"] for row in pairs})
    yield "source", [{"id": 1, "name": "bench", "shape": "medpix"}]
    yield "crawl", [{"id": 1, "source_id": 1, "started": now(), "finished": now()}]
    yield "study_case", [{"id": case, "source_id": 1, "upstream_id": case, "title": case} for case in cases]
    seen = {"first_seen": now(), "last_seen": now(), "due": False, "attempts": 1, "rank": 1, "source_id": 1}
    paths = [("encounter", f"/rest/encounter.json?encounterID={case}") for case in cases]
    paths += [("image", f"/images/{row['source_id']}.png") for row in pairs]
    failed = {"status": "failed", "reason": "timeout"}
    ended = [failed if at % 50 == 0 else {"status": "ok", "reason": None} for at in range(len(paths))]
    yield (
        "fetch",
        [{**seen, "kind": kind, "path": path, **end} for (kind, path), end in zip(paths, ended, strict=True)],
    )
    said = [json.dumps({"sex": ("male", "female", "")[at % 3], "history": "h" * 500}) for at in range(len(cases))]
    keys = {"source_id": 1, "kind": "encounter", "sha256": "0" * 64, "seen_at": now()}
    yield "raw_record", [{**keys, "key": case, "body": body} for case, body in zip(cases, said, strict=True)]
    size = {"bytes": 50_000, "height": 512, "mode": "L", "format": "PNG"}
    images = sorted({row["sha256"]: row for row in pairs}.items())
    yield "image", [{**size, "sha256": key, "width": 512 - int(key, 16) % 400, "path": key} for key, _ in images]
    yield "drift", [{"source_id": 1, "crawl_id": 1, "path": path, "field": "caption"} for _, path in paths[::100]]


def built(pairs: list[Row]) -> Iterator[tuple[str, list[Row]]]:
    """What two builds leave: v1 holds nine pairs of ten, v2 all; one more in twenty was dropped."""
    draws = random.Random(SEED)
    frozen = {"manifest_sha256": "0" * 64, "created": now(), "config": "{}"}
    yield "version", [{**frozen, "id": 1, "name": "v1"}, {**frozen, "id": 2, "name": "v2", "parent_id": 1}]
    yield (
        "version_pair",
        [{**row, "split": "test"} if at % 999 == 0 else row for at, row in enumerate(pairs) if at % 10],
    )
    yield "version_pair", [{**row, "version_id": 2} for row in pairs]
    for version_id in (1, 2):
        told = [{"version_id": version_id, "pair_id": row["pair_id"]} for row in pairs]
        dropped = [{**row, "pair_id": f"{row['pair_id']}x", "reason": draws.choice(REASONS)} for row in told[::20]]
        yield "version_drop", dropped
        texts = {"step": 0, "before": "b" * 100, "after": "a" * 100}
        yield "edit", [{**row, **texts, "rule": draws.choice(RULES)} for row in told if draws.random() < 0.6]
        cases = [{"version_id": version_id, "study_case_id": row["case_id"]} for row in pairs[::IMAGES_A_CASE]]
        yield "case_edit", [{**row, **texts, "field": "history", "rule": draws.choice(RULES)} for row in cases]
        sure = {"evidence": "MR - T1W", "confidence": 1.0, "value": "MR"}
        votes = [{**row, **sure, "field": field, "voter": voter} for row in told for field, voter in VOTES]
        yield "label", votes
        sides = {"value": "CT", "evidence": "CT", "other_value": "MR", "other_evidence": "MR"}
        voters = {"voter": "upstream", "other_voter": "text"}
        yield "conflict", [{**row, **sides, **voters, "field": draws.choice(tuple(DRAWN))} for row in told[::15]]
        yield "duplicate", list(duplicates(pairs, version_id))


def duplicates(pairs: list[Row], version_id: int) -> Iterator[Row]:
    """Each image or caption that an earlier pair has, beside that pair."""
    for column, kind in (("sha256", "bytes"), ("caption_group", "caption")):
        first: dict[str, str] = {}
        for row in pairs:
            older = first.setdefault(row[column], row["pair_id"])
            if older != row["pair_id"]:
                found = {"version_id": version_id, "pair_id": row["pair_id"], "cluster": row["duplicate_cluster"]}
                yield {**found, "kind": kind, "like_pair_id": older}


def evaluation_set(pairs: list[Row]) -> Iterator[tuple[str, list[Row]]]:
    """2,000 questions, half of them about images of the corpus."""
    yield "source", [{"id": 2, "name": "vqa-rad", "shape": "questions"}]
    asked = {"source_id": 2, "question": "Is it CT?", "answer": "Yes", "split": "test", "language": "en"}
    names = [row["upstream_name"] if at % 2 else f"other{at}" for at, row in enumerate(pairs[:2000])]
    yield "question", [{**asked, "upstream_id": str(at), "image_name": name} for at, name in enumerate(names)]


def fill(engine: Engine, count: int) -> None:
    """Insert everything, let v2 be the current version."""
    pairs = pairs_of(count)
    with engine.begin() as connection:
        for rows_of in (crawled, built, evaluation_set):
            for name, rows in rows_of(pairs):
                insert_rows(connection, name, rows)
        make_current(connection, 2)
    if not db.is_sqlite(engine):  # PostgreSQL does so by itself, some time after
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def drop_indices(engine: Engine) -> None:
    """Leave only the primary and unique keys."""
    with engine.begin() as connection:
        for table in SQLModel.metadata.tables.values():
            for index in table.indexes:
                index.drop(connection)


def times_ms(address: str) -> dict[str, float]:
    """The median time of each question, first row to last."""
    engine = db.open_readonly(address)
    clock = time.process_time if db.is_sqlite(engine) else time.perf_counter
    asked = {question.title: question.statements[engine.dialect.name] for question in questions(PAGE.read_text())}
    found = {}
    for title, statement in {"(SELECT 1: connecting alone)": "SELECT 1", **asked}.items():
        runs = []
        for _ in range(RUNS):
            began = clock()
            for _row in sql.query(engine, statement, timeout_s=600).rows:
                pass
            runs.append(1000 * (clock() - began))
        found[title] = statistics.median(runs)
    return found


def measure(address: str, count: int) -> None:
    """Fill one database and print its table."""
    engine = db.create(address)
    began = time.perf_counter()
    fill(engine, count)
    print(f"\n{engine.dialect.name}: {count} pairs, inserted in {time.perf_counter() - began:.0f} s\n")
    ours = times_ms(address)
    drop_indices(engine)
    peer = times_ms(address)
    print("| question | ms | without indices, ms |\n| --- | --- | --- |")
    for title, ms in ours.items():
        print(f"| {title} | {ms:.0f}{' (over)' if ms > LIMIT_MS else ''} | {peer[title]:.0f} |")


if __name__ == "__main__":
    pairs_asked = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        measure(sys.argv[2] if len(sys.argv) > 2 else f"{folder}/bench.db", pairs_asked)
