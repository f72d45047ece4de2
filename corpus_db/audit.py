"""Prove a version anew from image bytes and raw records: nothing leaks, nothing is missing, nothing was altered.

None of the code that builds use to split, de-duplicate and exclude runs here: a fault of theirs is not repeated.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select

from corpus_db import audit_leaks, burnt_in, db, version
from corpus_db.audit_images import Images
from corpus_db.audit_raw import Names, Raw, gone_cases, image_key, read_raw, untraced_captions
from corpus_db.errors import UserError
from corpus_db.gather import table
from corpus_db.records import Readers
from corpus_db.sql_output import shown

SPLITS = ("train", "val", "test")
_SHARES = {"train": 80, "val": 10, "test": 10}  # percent, where a version does not tell its own
_OFF = 5  # points that a split may be off its share before it is noted
_FEWEST = 100  # pairs of a modality, below which its shares say nothing
_EXAMPLES = 5
_LONGEST = 200  # characters of an example
Row = Mapping[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Check:
    """One check; a fatal one that is not ok means that the version does not hold, any other is a note."""

    name: str
    ok: bool
    fatal: bool
    count: int  # of what was found
    examples: list[str]
    says: str  # what was looked for


@dataclass(frozen=True)
class Audit:
    """All checks of one version."""

    version: str
    pairs: int
    checks: list[Check]

    @property
    def broken(self) -> list[Check]:
        """The fatal checks that do not hold."""
        return [check for check in self.checks if check.fatal and not check.ok]

    @property
    def failed(self) -> bool:
        """Whether any fatal check does not hold."""
        return bool(self.broken)


def audit(
    engine: Engine,
    key: str | None = None,
    *,
    readers: Readers,
    min_words: int = 3,
    min_pixels: int = 64,
    say: Say = lambda line: None,
) -> Audit:
    """Audit the version of a name, tag or hash; of None, the current one. Raises UserError where there is none."""
    limits = {"min_words": min_words, "min_pixels": min_pixels}
    with engine.connect() as connection:
        found = version.resolve(connection, key)
        if connection.execute(select(table("raw_record").c.id).limit(1)).first() is None:
            raise UserError(
                "no raw record is here (a shared copy?), so nothing can be proved; audit where it was built"
            )
        return audit_connection(connection, db.image_root(engine.url), found.id, readers=readers, **limits, say=say)


def audit_connection(
    connection: Connection,
    root: Path,
    version_id: int,
    *,
    readers: Readers,
    min_words: int = 3,
    min_pixels: int = 64,
    say: Say = lambda line: None,
) -> Audit:
    """Audit a version as the connection sees it, committed or not; `root`: the folder that holds images/."""
    subject = _Subject(connection, root, version_id, readers, say)
    checks = [*_frozen(subject), *_said(subject), *_shown(subject), *_split(subject), *_excluded(subject)]
    checks += _notes(subject, min_words, min_pixels)
    return Audit(subject.name, len(subject.rows), sorted(checks, key=lambda check: not check.fatal))


class _Subject:
    """What is audited: the frozen rows, and all that is known of them from raw records and image files."""

    def __init__(self, connection: Connection, root: Path, version_id: int, readers: Readers, say: Say):
        self.connection, self.id, self.readers, self.say = connection, version_id, readers, say
        versions, source = table("version"), table("source")
        found = connection.execute(select(versions).where(versions.c.id == version_id)).one()
        self.name, self.manifest, self.config = found.name, found.manifest_sha256, json.loads(found.config)
        self.created: datetime = found.created
        known = select(source.c.name).where(source.c.shape.in_(sorted(readers)))
        self.read_sources = set(connection.execute(known).scalars())  # those whose raw records can be read
        frozen = table("version_pair")
        statement = select(frozen).where(frozen.c.version_id == version_id).order_by(frozen.c.pair_id)
        self.rows: list[Row] = [dict(row) for row in connection.execute(statement).mappings()]
        self.raw = read_raw(connection, readers)
        self.names = Names(connection)
        self.held = audit_leaks.evaluation_images(connection, self.config.get("exclude", ()))
        whole_cases = bool(self.held.names) and self.config.get("exclude_cases", True)
        self.candidates = audit_leaks.case_images(self.rows, self.raw, self.names, whole_cases)
        needed = {sha256 for each in self.candidates for sha256 in each.sha256s} | self.held.sha256s
        files = {sha256: file for sha256, file in self.names.files.items() if sha256 in needed}
        self.images = Images(root, files | {row["sha256"]: row["image_path"] for row in self.rows}, say)


def _check(name: str, says: str, problems: Iterable[str], fatal: bool = True) -> Check:
    found = list(problems)
    examples = [shown(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…") for text in found[:_EXAMPLES]]
    return Check(name, not found, fatal, len(found), examples, says)


def _frozen(subject: _Subject) -> Iterator[Check]:
    """The version's own content."""
    stones = table("version_tombstone")
    left = select(stones.c.row_sha256).where(stones.c.version_id == subject.id)
    hashes = [*map(version.row_sha256, subject.rows), *subject.connection.execute(left).scalars()]
    manifest = version.manifest_sha256(hashes)
    problems = [] if manifest == subject.manifest else [f"{subject.manifest} is recorded, the rows give {manifest}"]
    yield _check("manifest", "the rows are not those that were frozen", problems)
    strange = (f"{row['pair_id']}: {row['split']}" for row in subject.rows if row["split"] not in SPLITS)
    yield _check("split_names", "pairs of a split that is neither train, val nor test", strange)
    taken_down = set(subject.connection.execute(select(table("tombstone").c.pair_id)).scalars())
    still = (row["pair_id"] for row in subject.rows if row["pair_id"] in taken_down)
    yield _check("taken_down", "pairs that were taken down for good", still)
    misnamed = (f"{row['pair_id']}: {image_key(row)}" for row in subject.rows if row["pair_id"] != image_key(row))
    yield _check("pair_ids", "pair ids that are not their source's key of the image", misnamed)
    repeats = audit_leaks.repeated_pairs(subject.rows)
    yield _check("repeated_pairs", "pairs with the image bytes and the caption of another", repeats)


def _said(subject: _Subject) -> Iterator[Check]:
    """Frozen rows against raw records."""
    rows = [row for row in subject.rows if row["source"] in subject.read_sources]
    changed = {row["pair_id"]: faults for row in rows if (faults := _faults(subject, row, subject.raw))}
    raw = subject.raw
    if changed:  # the source may have changed since: then what it said at the time must agree
        raw = read_raw(subject.connection, subject.readers, subject.created)
    wrong = {
        row["pair_id"]: faults for row in rows if row["pair_id"] in changed and (faults := _faults(subject, row, raw))
    }
    since = changed.keys() - wrong.keys()
    told = (f"{pair}: {'; '.join(wrong[pair])}" for pair in sorted(wrong))
    yield _check("raw_records", "pairs whose raw record says otherwise", told)
    drift = (f"{pair}: {'; '.join(changed[pair])}" for pair in sorted(since))
    yield _check("changed_upstream", "pairs whose source says something else by now", drift, fatal=False)
    unread = (f"{row['pair_id']}: {row['source']}" for row in subject.rows if row["source"] not in subject.read_sources)
    yield _check("unread_sources", "pairs of sources whose raw records nothing reads", unread, fatal=False)
    if "algorithms" in subject.config:  # earlier versions kept no edits
        broken = dict(untraced_captions(subject.connection, subject.id, rows, raw))
        if broken and raw is subject.raw:
            raw = read_raw(subject.connection, subject.readers, subject.created)
            before = dict(untraced_captions(subject.connection, subject.id, rows, raw))
            broken = {pair: why for pair, why in broken.items() if pair in before}
        yield _check(
            "captions", "captions that no recorded edits lead to from the raw ones", map(": ".join, broken.items())
        )


def _faults(subject: _Subject, row: Row, raw: Raw) -> list[str]:
    faults = list(raw.faults(row))
    said = raw.images.get(image_key(row))
    if said is not None and row["sha256"] not in subject.names.of(row["source"], said):
        faults.append("its source never gave these image bytes under that name")
    return faults


def _shown(subject: _Subject) -> Iterator[Check]:
    """Image files."""
    for fault, says in (
        ("missing", "images whose file is not there"),
        ("altered", "images whose bytes are not those that were frozen"),
        ("unreadable", "images that do not decode"),
    ):
        faulty = (
            f"{row['pair_id']}: {row['image_path']}"
            for row in subject.rows
            if subject.images.seen[row["sha256"]].fault == fault
        )
        yield _check(f"{fault}_images", says, faulty)


def _split(subject: _Subject) -> Iterator[Check]:
    """What must not stand in two splits."""
    rows, said = subject.rows, subject.raw.images

    def case(row: Row) -> str:
        return said[image_key(row)].case_id if image_key(row) in said else row["case_id"]

    def patient(row: Row) -> str | None:
        return said[image_key(row)].patient_key if image_key(row) in said else row["patient_key"]

    telling = audit_leaks.telling_captions(subject.connection, subject.id, rows)

    def caption(row: Row) -> str | None:
        text = audit_leaks.said_alike(row["caption"])
        return text if text in telling else None

    yield _check("split_case", "cases in two splits", audit_leaks.split_twice(rows, case))
    yield _check("split_patient", "patients in two splits", audit_leaks.split_twice(rows, patient))
    yield _check("split_bytes", "image files in two splits", audit_leaks.split_twice(rows, lambda row: row["sha256"]))
    yield _check("split_caption", "telling captions in two splits", audit_leaks.split_twice(rows, caption))
    alike = defaultdict(list)
    for told, found in audit_leaks.across_splits(rows, subject.images):
        alike[found.kind].append(told)
    yield _check("split_pixels", "images with the same pixels in two splits", alike["pixels"])
    yield _check("split_near", "copies of one image (re-encoded, resized, cropped, ...) in two splits", alike["near"])
    yield _check("split_suspects", "images in two splits that may be one: look at them", alike["suspect"], fatal=False)


def _excluded(subject: _Subject) -> Iterator[Check]:
    """What the excluded evaluation sets hold."""
    if not subject.config.get("exclude"):
        return
    if not subject.held.names:
        lost = [", ".join(subject.config["exclude"])]
        yield _check("excluded_sets", "excluded evaluation sets that are no longer in the database", lost)
    told = audit_leaks.excluded(subject.candidates, subject.held, subject.images)
    for kind, says in (
        ("name", "pairs with the name of an excluded image"),
        ("bytes", "pairs with the bytes of an excluded image"),
        ("pixels", "pairs with the pixels of an excluded image"),
        ("near", "pairs that show a copy of an excluded image"),
        ("case", "pairs of the same case as an excluded image"),
    ):
        yield _check(f"excluded_{kind}", says, told[kind])
    yield _check(
        "excluded_suspects", "pairs that may show an excluded image: look at them", told["suspect"], fatal=False
    )
    absent = sorted(subject.held.without_bytes)
    absent += [f"{key[:16]}" for key in sorted(subject.held.sha256s) if subject.images.seen[key].fault]
    yield _check(
        "excluded_unseen", "excluded images whose bytes are not here: known by name alone", absent, fatal=False
    )


def _notes(subject: _Subject, min_words: int, min_pixels: int) -> Iterator[Check]:
    """What a user of the corpus should know."""
    rows, seen = subject.rows, subject.images.seen
    gone = gone_cases(subject.connection)
    conflict = table("conflict")
    statement = select(conflict.c.field, conflict.c.pair_id).where(conflict.c.version_id == subject.id)
    frozen = {row["pair_id"] for row in rows}
    fields = Counter(name for name, pair in set(map(tuple, subject.connection.execute(statement))) if pair in frozen)
    short = (row for row in rows if len(row["caption"].split()) < min_words)
    small = (row for row in rows if not seen[row["sha256"]].fault and seen[row["sha256"]].side < min_pixels)
    texts = (row for row in rows if seen[row["sha256"]].text >= burnt_in.SUSPECT)
    for name, says, found in (
        ("shared_captions", "captions of more than one image", audit_leaks.most_shared(rows)),
        ("short_captions", f"captions of fewer than {min_words} words", (_told(row, row["caption"]) for row in short)),
        (
            "small_images",
            f"images with a side under {min_pixels} pixels",
            (_told(row, f"{seen[row['sha256']].side} pixels") for row in small),
        ),
        ("burnt_in_text", "images that may have text burnt in", (_told(row, row["image_path"]) for row in texts)),
        ("no_licence", "pairs without a licence", (row["pair_id"] for row in rows if not row["licence"])),
        ("no_credit", "pairs without a credit", (row["pair_id"] for row in rows if not row["credit"])),
        (
            "gone_upstream",
            "pairs of cases that their source no longer has",
            (row["pair_id"] for row in rows if row["case_id"] in gone),
        ),
    ):
        yield _check(name, says, found, fatal=False)
    conflicts = [f"{name} {count}" for name, count in fields.most_common()]
    yield Check("conflicts", not fields, False, fields.total(), conflicts, "labels that two votes disagree on")
    told = subject.config.get("split_percent", {})
    yield _shares(rows, {split: told.get(split, share) for split, share in _SHARES.items()})


def _told(row: Row, what: str) -> str:
    return f"{row['pair_id']}: {what}"


def _shares(rows: Sequence[Row], shares: Mapping[str, float]) -> Check:
    """The splits' shares, of all and by modality; counted are those that are off."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        counts["all"][row["split"]] += 1
        counts[row["modality"] or "none"][row["split"]] += 1
    lines, off = [], 0
    for name, found in sorted(counts.items(), key=lambda item: (item[0] != "all", -item[1].total(), item[0])):
        percent = {split: 100 * found[split] / found.total() for split in shares}
        worst = max(abs(percent[split] - share) for split, share in shares.items())
        off += found.total() >= _FEWEST and worst > _OFF
        told = " / ".join(f"{share:.1f}" for share in percent.values())
        lines.append(f"{name} ({found.total()}): {told}, off by {worst:.1f} points at most")
    wanted = " / ".join(f"{share:g}" for share in shares.values())
    says = f"modalities of {_FEWEST} pairs or more whose splits are over {_OFF} points off {wanted}"
    return Check("split_shares", not off, False, off, lines[:_EXAMPLES], says)


def plain(found: Audit) -> dict[str, Any]:
    """An audit as values that JSON can hold."""
    return {**asdict(found), "failed": found.failed}


def render_audit(found: Audit) -> list[str]:
    """An audit as lines for a terminal: what does not hold first, then the notes, then what holds."""
    verdict = "does not hold" if found.failed else "holds"
    lines = [f"Version {found.version}: {found.pairs} pairs; it {verdict}."]
    for check in sorted(found.checks, key=lambda check: (check.ok, not check.fatal)):
        mark = "FAIL" if check in found.broken else "ok  " if check.ok else "note"
        lines.append(f"{mark} {check.name:<18} {check.count:>6}  {check.says}")
        if not check.ok or check.name == "split_shares":
            lines += [f"{'':12}{example}" for example in check.examples]
    return [shown(line) for line in lines]


def audit_markdown(found: Audit) -> str:
    """An audit as a Markdown section body for a data card: two tables, of counts alone and of no pair."""
    lines = []
    for fatal, title in ((True, "Proved anew from image bytes and raw records"), (False, "Notes")):
        lines += [f"{title}:", "", "| check | looked for | found |", "| --- | --- | ---: |"]
        for check in found.checks:
            if check.fatal is fatal:
                lines.append(
                    f"| {check.name} | {check.says} | {check.count}{' (fails)' if fatal and not check.ok else ''} |"
                )
        lines.append("")
    detail = [check for check in found.checks if check.name in ("split_shares", "conflicts") and check.examples]
    lines += [f"{check.name}: {'; '.join(check.examples)}." for check in detail]
    return "\n".join(lines)
