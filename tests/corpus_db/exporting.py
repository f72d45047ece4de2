"""A small frozen version with real image files, written straight into the tables, for the tests of exports."""

import hashlib
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image
from sqlalchemy import Engine, insert, select, update

from corpus_db import version
from corpus_db.gather import table
from corpus_db.store import ImageStore

RAW = "Xylophonist"  # a name that cleaning takes out: it may stand in no export
SPLITS = ("train", "train", "train", "val", "test")
MADE = datetime(2026, 1, 2, 3, 4, 5)
AWKWARD = '=1+1, "quoted" µ 5 cm;\r\nsecond line 😀'  # what a reader of files may trip over


def freeze_corpus(engine: Engine, root: Path, cases: int = 5, name: str | None = None) -> version.Frozen:
    """A version of two pairs a case; the last two share one image. Raw text stands wherever a build leaves it."""
    with engine.begin() as connection:

        def add(table_name: str, rows: list[dict[str, Any]]) -> None:
            connection.execute(insert(table(table_name)), rows)

        add("source", [{"id": 1, "name": "medpix", "shape": "test", "site": "https://medpix.example"}])
        add("source", [{"id": 2, "name": "roco", "shape": "test", "licence": "CC BY 4.0", "citation": "Pelka 2018"}])
        body = json.dumps({"caption": f"Case of {RAW}"})
        add("tombstone", [{"pair_id": "medpix:taken", "why": f"asked by {RAW}", "at": MADE}])
        raw = {"source_id": 1, "kind": "encounter", "key": "1", "sha256": "0" * 64, "body": body, "seen_at": MADE}
        add("raw_record", [raw])
        images = _store_images(ImageStore(root), cases)
        add("image", list({row["sha256"]: row for row in images}.values()))
        rows = [_row(number, images[number]) for number in range(2 * cases)]
        studies = {row["case_id"]: _study(row) for row in rows}
        add("study_case", list(studies.values()))
        add("pair", [_pair(row, f"{RAW}: {row['caption']}") for row in rows])
        add("image_ref", [_named(row) for row in rows])
        frozen = version.freeze(connection, rows, name, {"schema": "0002", "rules": ["names"]})
        known = table("version")
        connection.execute(update(known).where(known.c.id == frozen.id).values(created=MADE))
        _votes(add, frozen.id, rows[0]["pair_id"], rows[0]["case_id"])
    return frozen


def change(engine: Engine, pair_id: str, refreeze: bool = False, **values: Any) -> None:
    """Change a frozen row; `refreeze` makes the manifest agree with it, as a hostile database would."""
    rows, known = table("version_pair"), table("version")
    with engine.begin() as connection:
        connection.execute(update(rows).where(rows.c.pair_id == pair_id).values(**values))
        if refreeze:
            hashes = [version.row_sha256(dict(row)) for row in connection.execute(select(rows)).mappings()]
            connection.execute(update(known).values(manifest_sha256=version.manifest_sha256(hashes)))


def _store_images(store: ImageStore, cases: int) -> list[dict[str, Any]]:
    stored: list[dict[str, Any]] = []
    for number in range(2 * cases):
        body = io.BytesIO()
        Image.new("L", (24, 16), min(number, 2 * cases - 2)).save(body, "PNG" if number % 3 else "JPEG")
        if number == 2 * cases - 1:
            stored.append(stored[-1])
            continue
        stored.append(vars(store.put(body.getvalue())))
    return stored


def pair_id_of(number: int) -> str:
    """The id of a pair of the version, with all that a file name or a tar member may trip over."""
    return f"{'roco' if number // 2 % 2 else 'medpix'}:a/b.c d{number}#{number % 2}~é"


def _row(number: int, image: dict[str, Any]) -> dict[str, Any]:
    case = number // 2
    roco = case % 2
    pair_id = pair_id_of(number)
    caption = AWKWARD if number == 1 else f"Axial CT number {number} shows a mass."
    return {
        **{"pair_id": pair_id, "image_path": image["path"], "sha256": image["sha256"], "caption": caption},
        **{"modality": "CT", "plane": None, "region": None, "laterality": None, "split": SPLITS[case % len(SPLITS)]},
        **{"case_id": f"case{case}", "caption_group": hashlib.sha256(caption.encode()).hexdigest()[:16]},
        **{"source": "roco" if roco else "medpix", "source_id": f"00{number}", "upstream_name": f"synpic{number}"},
        **{"title": "NA", "diagnosis": "Glioma", "credit": "A. Author" if number else None},
        **{"licence": "CC BY 4.0" if roco else None, "duplicate_cluster": image["sha256"][:16]},
        **{"patient_key": None, "split_group": f"case{case}"},
    }


def _study(row: dict[str, Any]) -> dict[str, Any]:
    source_id = 2 if row["source"] == "roco" else 1
    return {"id": row["case_id"], "source_id": source_id, "upstream_id": row["case_id"], "history": "Headache."}


def _pair(row: dict[str, Any], raw: str) -> dict[str, Any]:
    return {
        **{"id": row["pair_id"], "source_id": 2 if row["source"] == "roco" else 1, "upstream_id": row["source_id"]},
        **{"upstream_name": row["upstream_name"], "study_case_id": row["case_id"], "image_sha256": row["sha256"]},
        **{"caption_raw": raw, "caption": row["caption"], "status": "kept", "modality_raw": "CT - noncontrast"},
    }


def _named(row: dict[str, Any]) -> dict[str, Any]:
    source_id = 2 if row["source"] == "roco" else 1
    path = f"/images/full/{row['upstream_name']}.jpg"
    named = {"source_id": source_id, "upstream_name": row["upstream_name"], "path": path}
    return {**named, "image_sha256": row["sha256"], "seen_at": MADE}


def _votes(add: Any, version_id: int, pair_id: str, case: str) -> None:
    here = {"version_id": version_id, "pair_id": pair_id}
    edit = {"step": 1, "rule": "names", "before": f"{RAW} 1", "after": f"{RAW} 2"}
    add("edit", [{**here, **edit}])
    add("case_edit", [{"version_id": version_id, "study_case_id": case, "field": "history", **edit}])
    vote = {"field": "modality", "value": "CT", "confidence": 1.0}
    add("label", [{**here, **vote, "voter": "upstream", "evidence": "upstream: CT - noncontrast"}])
    add("label", [{**here, **vote, "voter": "text", "evidence": f"text: {RAW} CT"}])
    conflict = {"field": "modality", "value": "CT", "voter": "upstream", "evidence": "upstream: CT"}
    add("conflict", [{**here, **conflict, "other_value": "MR", "other_voter": "text", "other_evidence": RAW}])
    add("duplicate", [{**here, "cluster": "c", "kind": "first"}])
    add("version_drop", [{"version_id": version_id, "pair_id": "medpix:dropped", "reason": "template"}])
    add("version_tag", [{"version_id": version_id, "tag": f"1.{version_id}.0"}])
