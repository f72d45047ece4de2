"""Show an explanation as plain lines for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from corpus_db.sql_output import shown


def render_explain(found: Mapping[str, Any]) -> list[str]:
    """One line a fact; control characters are shown escaped."""
    return [shown(line).rstrip() for line in _lines(found)]


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    reason = f" ({found['drop_reason']})" if found["drop_reason"] else ""
    key = found["id"] or found["upstream_id"] or found["upstream_name"] or found["fetch"]["path"]
    yield f"{key}: {found['status']}{reason}"
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
    for name in ("modality", "plane"):
        if found[f"{name}_raw"] or found.get(name):
            yield _line(name, f"{found.get(name) or 'none'}  (upstream: {found[f'{name}_raw']})")
    for vote in found.get("labels", ()):
        yield _line("vote", f"{vote['field']} = {vote['value']}  {vote['evidence']}  {vote['confidence']:g}")
    if found.get("credit"):
        yield _line("credit", found["credit"])
    for row in found.get("versions", ()):
        yield _line("version", f"{row['name']}  {row['split']}{'  (current)' if row['current'] else ''}")


def _line(name: str, value: str) -> str:
    return f"  {name:<9} {value}"


def _fetched(row: Mapping[str, Any]) -> str:
    http = f" {row['http_status']}" if row["http_status"] else ""
    reason = f" ({row['reason']})" if row["reason"] else ""
    asked = f"asked {row['attempts']} {'time' if row['attempts'] == 1 else 'times'}, last {row['last_seen']}"
    return f"{row['path']}  {row['status']}{http}{reason}, {asked}"
