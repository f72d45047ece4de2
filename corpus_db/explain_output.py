"""Show an explanation as plain lines for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from corpus_db.sql_output import shown


def render_explain(found: Mapping[str, Any]) -> list[str]:
    """One line a fact; control characters are shown escaped."""
    return [shown(line).rstrip() for line in _lines(found)]


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    reason = ": ".join(filter(None, (found["drop_reason"], found.get("drop_detail"))))
    reason = f" ({reason})" if reason else ""
    key = found["id"] or found["upstream_id"] or found["upstream_name"] or found["fetch"]["path"]
    where = f"  (in version {found['version']})" if found.get("version") else ""
    yield f"{key}: {found['status']}{reason}{where}"
    yield _line("source", " ".join(str(found["source"][name]) for name in ("name", "site") if found["source"][name]))
    if found["upstream_id"]:
        yield _line("upstream", f"{found['upstream_name']}  {found['upstream_id']}")
    if case := found.get("case"):
        yield _line("case", f"{case['id']}  {case['title'] or ''}")
    for name in ("case_fetch", "fetch"):
        if row := found[name]:
            yield _line("asked", _fetched(row))
    for row in found["raw_records"]:
        yield _line("said", f"{row['seen_at']}  {row['kind']} {row['key']}  {row['sha256'][:16]}")
    if image := found.get("image"):
        size = f"{image['width']} x {image['height']} {image['mode']} {image['format']}, {image['bytes']} bytes"
        yield _line("image", f"{image['path']}  {size}")
    for row in found.get("names", ()):
        yield _line("named", f"{row['source']} {row['upstream_name']}  {row['path']}  {row['seen_at']}")
    yield from _judged(found)


def _judged(found: Mapping[str, Any]) -> Iterator[str]:
    yield _line("raw", "none" if found["caption_raw"] is None else found["caption_raw"])
    for edit in found.get("edits", ()):
        yield _line(f"edit {edit['step']}", f"{edit['rule']}: {edit['after']}")
    if found["id"]:
        yield _line("caption", found["caption"] or "none")
    for name in ("modality", "plane", "region", "laterality"):
        upstream = f"  (upstream: {found[f'{name}_raw']})" if found.get(f"{name}_raw") else ""
        if upstream or found.get(name):
            yield _line(name, f"{found.get(name) or 'none'}{upstream}")
    for vote in found.get("labels", ()):
        voted = f"{vote['field']} = {vote['value']}  {vote['voter']}: {vote['evidence'].removeprefix('upstream: ')}"
        yield _line("vote", f"{voted}  {vote['confidence']:g}")
    for row in found.get("conflicts", ()):
        sides = (f"{row[f'{side}voter']} {row[f'{side}value']} ({row[f'{side}evidence']})" for side in ("", "other_"))
        yield _line("conflict", f"{row['field']}: {' against '.join(sides)}")
    for row in found.get("duplicates", ()):
        like = f" of {row['like_pair_id']}" if row["like_pair_id"] else ", the first of its cluster"
        far = f", distance {row['distance']:.3f}" if row["distance"] else ""
        yield _line("alike", f"{row['kind']}{like}{far}  {row['cluster']}")
    for row in found.get("verdicts", ()):
        what = " ".join(filter(None, (row["decision"], f"{row['field']} =" if row["field"] else None, row["value"])))
        why = f" ({row['why']})" if row["why"] else ""
        yield _line("verdict", f"{what}  {row['by']}, {row['at']}{why}: {row['outcome']}")
    if found.get("credit"):
        yield _line("credit", found["credit"])
    for row in found.get("versions", ()):
        left_out = f"left out: {row['reason']}{': ' + row['detail'] if row['detail'] else ''}" if row["reason"] else ""
        yield _line("version", f"{row['name']}  {row['split'] or left_out}{'  (current)' if row['current'] else ''}")


def _line(name: str, value: str) -> str:
    return f"  {name:<9} {value}"


def _fetched(row: Mapping[str, Any]) -> str:
    http = f" {row['http_status']}" if row["http_status"] else ""
    reason = f" ({row['reason']})" if row["reason"] else ""
    asked = f"asked {row['attempts']} {'time' if row['attempts'] == 1 else 'times'}, last {row['last_seen']}"
    return f"{row['path']}  {row['status']}{http}{reason}, {asked}"
