"""How good the label votes are: the text vote on real captions, and all voters on a sample.

    python bench/labels.py --real DIR [--sample DIR] [--half development|measured|both] [--show]

DIR holds medpix2/ and captions_gold/. The development half of MedPix-2.0 are the cases whose SHA-256 begins
with an even byte, that of the gold captions every other line, from the first. --sample takes a folder that
`python cli.py sample -o` made.
"""

import argparse
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from corpus_db.labels import agree, label  # noqa: E402
from corpus_db.modality import read_modality, read_plane  # noqa: E402
from corpus_db.regions import acr_regions, location_regions, overlap  # noqa: E402
from corpus_db.text_labels import text_votes  # noqa: E402

Row = dict[str, Any]
NAMED = 0.9  # confidence: the caption names it, and does not only speak its language
SHOW = False
GOLD = {"DX": "XR", "RF": "XR", "MG": "XR", "PT": "PET", "XC": None, "SM": None, "ES": None}


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def case_half(row: Row) -> int:
    return hashlib.sha256(row["case"].encode()).digest()[0] % 2


def halves(rows: list[Row], half: list[int], which: str) -> Iterator[tuple[str, list[Row]]]:
    for name, wanted in (("development", 0), ("measured", 1)):
        if which in (name, "both"):
            yield name, [row for row, of in zip(rows, half, strict=True) if of == wanted]


def voted(caption: str, field: str, least: float = 0) -> str | None:
    found = (vote for vote in text_votes(caption) if vote.field == field and vote.confidence >= least)
    return next((vote.value for vote in found), None)


def or_agreeing(field: str, vote: str | None, truth: str) -> str | None:
    """The vote, or the truth where both can be right (gi+iv beside iv)."""
    return truth if vote and agree(field, vote, truth) else vote


def tally(name: str, pairs: Iterable[tuple[str | None, str | None, str]], recall: bool = False) -> None:
    """Print precision where a vote was cast, and coverage (or recall) of the rows that have a truth."""
    pairs = list(pairs)
    cast = [pair for pair in pairs if pair[0] is not None]
    right = [pair for pair in cast if pair[0] == pair[1]]
    wanted = [pair for pair in pairs if pair[1] is not None] if recall else pairs
    share = len(right if recall else cast) / max(1, len(wanted))
    word = "recall" if recall else "coverage"
    print(f"| {name} | {len(pairs)} | {len(cast)} | {len(right) / max(1, len(cast)):.3f} | {word} {share:.3f} |")
    if SHOW:
        for vote, truth, caption in pairs:
            if vote != truth and (vote is not None or recall):
                print(f"      voted {vote}, truth {truth}: {' '.join(caption.split())[:300]}")


def head(title: str) -> None:
    print(f"\n{title}\n\n| what | rows | votes | precision | reached |\n| --- | --- | --- | --- | --- |")


def medpix(folder: Path, which: str) -> None:
    head("The text vote on MedPix-2.0, upstream hidden")
    listed = rows_of(folder / "medpix2/images.jsonl")
    for name, rows in halves(listed, [case_half(row) for row in listed], which):
        tally(f"{name}: modality", ((voted(r["caption"], "modality"), r["type"], r["caption"]) for r in rows))
        names = [(voted(r["caption"], "modality", NAMED), r) for r in rows]
        tally(f"{name}: modality, named alone", ((vote, r["type"], r["caption"]) for vote, r in names))
        planes = [(r, read_plane(r["plane"]).plane) for r in rows]
        known = [(r, plane) for r, plane in planes if plane not in (None, "multiple", "other", "3d")]
        tally(f"{name}: plane", (versus("plane", r["caption"], plane) for r, plane in known))
        details = [(r, dict(read_modality(r["modality"]).details)) for r in rows]
        for field in ("sequence", "contrast"):
            have = [(r, d[field]) for r, d in details if d.get(field, "other") != "other"]
            tally(f"{name}: {field}", (versus(field, r["caption"], value) for r, value in have))
        for source, column, regions_of in (("location", "location", location_regions), ("ACR", "acr", acr_regions)):
            topics = [(r, regions) for r in rows if any(regions := regions_of(r[column]))]
            tally(f"{name}: region against {source}", (_region(r["caption"], regions) for r, regions in topics))


def versus(field: str, caption: str, truth: str) -> tuple[str | None, str, str]:
    return or_agreeing(field, voted(caption, field), truth), truth, caption


def _region(caption: str, regions: tuple[str, ...]) -> tuple[str | None, str, str]:
    """The caption's region and the topic's, counted the same where the topic may mean it."""
    vote, likeliest = voted(caption, "region"), next(region for region in regions if region)
    same = vote in regions or (vote is not None and overlap((vote, likeliest)))
    return likeliest if same else vote, likeliest, caption


def gold(folder: Path, which: str) -> None:
    head("The text vote on the gold captions")
    listed = rows_of(folder / "captions_gold/gold.jsonl")
    for name, rows in halves(listed, [at % 2 for at in range(len(listed))], which):
        kept = [(row, row["clean"]) for row in rows if row["clean"]]
        for field in ("modality", "plane", "laterality"):
            found = [(voted(clean, field, NAMED), row[f"{field}_in_text"], clean) for row, clean in kept]
            if field == "modality":
                found = [(GOLD.get(vote or "", vote), truth, clean) for vote, truth, clean in found]
            else:
                found = [(vote, truth and truth.lower(), clean) for vote, truth, clean in found]
            tally(f"{name}: {field}", found, recall=True)


def sample(folder: Path) -> None:
    truth = rows_of(folder / "truth.jsonl")
    head("The text vote on the sample (truth: truth.jsonl)")
    shown = [row for row in truth if row["radiology"] and row["caption"]]
    tally("modality", ((voted(r["caption"], "modality"), r["modality"], r["caption"]) for r in shown))
    planes = [(r, {"transverse": "axial"}.get(r["plane"], r["plane"])) for r in shown if not r["montage"]]
    tally("plane (ap, pa = frontal)", ((_frontal(voted(r["caption"], "plane")), p, r["caption"]) for r, p in planes))
    sides = [r for r in shown if r["side"]]
    tally("laterality", ((voted(r["caption"], "laterality"), r["side"], r["caption"]) for r in sides))
    regions = {"hand": "upper limb", "knee": "lower limb", "head": "brain"}
    tally(
        "region", ((voted(r["caption"], "region"), regions.get(r["region"], r["region"]), r["caption"]) for r in shown)
    )
    upstream = {i["imageID"]: i for e in rows_of(folder / "encounters.jsonl") for i in _images(e)}
    table: Counter[tuple[str, str]] = Counter()
    for row in truth:
        listed = upstream.get(row["image_id"], {})
        found = label(modality_raw=listed.get("modality"), plane_raw=listed.get("plane"), caption=row["caption"])
        table[row["modality"] or "no radiology", found.modality or f"({found.drop_reason})"] += 1
    print("\nAll voters on the sample: truth, label, images\n\n| truth | label | images |\n| --- | --- | --- |")
    for (true, given), count in sorted(table.items()):
        print(f"| {true} | {given} | {count} |")


def _frontal(plane: str | None) -> str | None:
    return "frontal" if plane in ("ap", "pa") else plane


def _images(body: Any) -> Iterator[Row]:
    if isinstance(body, dict):
        if "imageID" in body:
            yield body
        for value in body.values():
            yield from _images(value)
    elif isinstance(body, list):
        for value in body:
            yield from _images(value)


def speed(folder: Path) -> None:
    captions = [row["caption"] for row in rows_of(folder / "medpix2/images.jsonl")]
    began = time.process_time()
    for caption in captions:
        text_votes(caption)
    print(f"\ntext_votes: {len(captions) / (time.process_time() - began):,.0f} captions in a second of one core")


def disputes(folder: Path) -> None:
    """Conflicts between upstream and text over all of MedPix-2.0."""
    table: Counter[tuple[str, str, str]] = Counter()
    for row in rows_of(folder / "medpix2/images.jsonl"):
        said = {"modality_raw": row["modality"], "plane_raw": row["plane"], "caption": row["caption"]}
        found = label(**said, location=row["location"], acr_code=row["acr"])
        table.update({(each.field, each.voter, each.other_voter) for each in found.conflicts})
    print("\nConflicts on MedPix-2.0\n\n| field | chosen | disputed by | images |\n| --- | --- | --- | --- |")
    for (field, voter, other), count in sorted(table.items()):
        print(f"| {field} | {voter} | {other} | {count} |")


def main() -> None:
    global SHOW
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--sample", type=Path)
    parser.add_argument("--half", choices=("development", "measured", "both"), default="both")
    parser.add_argument("--show", action="store_true", help="print every miss")
    given = parser.parse_args()
    SHOW = given.show
    if given.real:
        medpix(given.real, given.half)
        gold(given.real, given.half)
        disputes(given.real)
        speed(given.real)
    if given.sample:
        sample(given.sample)


if __name__ == "__main__":
    main()
