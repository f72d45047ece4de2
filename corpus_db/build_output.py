"""Tell what a build made, for people."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from corpus_db.sql_output import shown

if TYPE_CHECKING:
    from corpus_db.build import BuildResult

_SPLITS = ("train", "val", "test")
_TELLING = 20  # pairs of a modality, below which its shares say nothing
_TOLD = 5  # verdicts that could not be obeyed


def render_build(result: "BuildResult") -> Iterator[str]:
    """What a build made, and what it left out and why."""
    kept = result.by_status["kept"]
    splits = ", ".join(f"{name} {result.by_split[name]}" for name in _SPLITS)
    again = " (as before: nothing has changed)" if result.reused else ""
    yield f"Version {result.name}{again}: {kept} pairs of {result.kept_cases} cases ({result.cases} read); {splits}."
    if lacking := [name for name in _SPLITS if kept and not result.by_split[name]]:
        yield f"splits      no {' or '.join(lacking)} pairs: too few groups, or all of a source that has its own split"
    for modality, points in result.deviation.items():
        if result.by_modality[modality] < _TELLING:
            yield f"modality    {modality} {result.by_modality[modality]}"
            continue
        off = ", ".join(f"{name} {points[name]:+g}" for name in _SPLITS)
        yield f"modality    {modality} {result.by_modality[modality]} (off its shares by {off} points)"
    left_out = [*result.by_drop_reason.most_common(), ("without image", result.without_image)]
    left_out.append(("withheld upstream", result.withheld))
    if any(count for _, count in left_out):
        yield "left out    " + ", ".join(f"{reason} {count}" for reason, count in left_out if count)
    for what, rules in (("captions", result.edits), ("case texts", result.case_edits)):
        if rules:
            yield f"edits       {rules.total()} in {what}; most: " + _most(rules)
    if result.conflicts:
        yield "conflicts   " + _most(result.conflicts) + " (kept pairs; see the table conflict)"
    if result.reviewed:
        yield "reviewed    " + _most(result.reviewed) + " verdicts obeyed"
    yield from (f"not obeyed  {shown(told)}" for told in result.not_obeyed[:_TOLD])
    if len(result.not_obeyed) > _TOLD:
        yield f"not obeyed  ... and {len(result.not_obeyed) - _TOLD} more (--json has all)"
    for what, unknown in (("modality", result.unknown_modalities), ("plane", result.unknown_planes)):
        if unknown:
            yield f"unknown {what}: " + ", ".join(f"{word!r} {count}" for word, count in unknown.most_common())
    if result.unreadable:
        yield f"unreadable  {len(result.unreadable)} image files: {result.unreadable[0]}; see: python cli.py verify"
    if result.unread_sources:
        yield "not read: " + ", ".join(result.unread_sources)
    if result.audit:
        proved = sum(check["fatal"] for check in result.audit)
        notes = ", ".join(
            f"{check['name']} {check['count']}" for check in result.audit if not check["fatal"] and check["count"]
        )
        yield f"audit       {proved} checks hold" + (f"; notes: {notes}" if notes else "")
    yield f"manifest    {result.manifest_sha256}"
    if result.card:
        yield f"data card   {result.card}"
    if "sample" in result.sources:
        yield "This corpus is of the embedded sample site: rendered phantoms, not patients."


def _most(counts: Counter[str], limit: int = 4) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common(limit))
