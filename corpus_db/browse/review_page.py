"""The review page: one pair at a time with what is doubtful about it, and a form whose decision is recorded."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from datasette.utils.asgi import Response
from sqlalchemy import Engine, select

from corpus_db import verdicts
from corpus_db.browse.corpus import REVIEW, Corpus, Writing, pair_address
from corpus_db.browse.lineage import LABELS
from corpus_db.errors import UserError
from corpus_db.explain import explain
from corpus_db.gather import table
from corpus_db.page import render
from corpus_db.review import KINDS, Item, decide_alone, queue
from corpus_db.verdicts import DROP, EDIT, KEEP, RELABEL, VALUES, WITHDRAW, Decision

Html = Callable[[str, int], Response]
_OLD_FORM = "This form is of an earlier start of the server: look again, then decide."
_MOST = 8  # other pairs of the same picture that are shown


async def answer(request: Any, corpus: Corpus, writing: Writing, html: Html) -> Response:
    """The page, or after a POST the way to the next pair; where nothing could be recorded, the form with the reason."""
    if request.method != "POST":
        said, writing.said = writing.said, []
        return html(await _page(corpus, writing, request.args.get("pair"), {}, said), 200)
    form = await request.post_vars()
    if not secrets.compare_digest(form.get("token", "").encode(), writing.token.encode()):
        return html(await _page(corpus, writing, form.get("pair"), form, [], _OLD_FORM), 403)
    try:
        following = await _record(corpus, writing, form)
    except UserError as error:
        return html(await _page(corpus, writing, form.get("pair"), form, [], str(error)), 409)
    return Response("", 303, {"location": f"{REVIEW}?{urlencode({'pair': following})}" if following else REVIEW})


async def _record(corpus: Corpus, writing: Writing, form: Mapping[str, str]) -> str | None:
    """Keep what the form says; gives the pair that follows in the queue."""
    pair_id, by = form.get("pair", ""), form.get("by", "").strip() or writing.by
    before = await corpus.ask(queue)
    decisions = _decisions(form)
    async with writing.lock:
        notes = await asyncio.to_thread(decide_alone, writing.engine, pair_id, decisions, by, form.get("why"))
    writing.by, writing.done = by, writing.done + 1
    writing.said = [f"{pair_id}: {', '.join(map(_told, decisions))}", *notes]
    return _after(before, pair_id)


def _told(decision: Decision) -> str:
    return f"{decision.decision} {decision.field} = {decision.value}" if decision.field else decision.decision


def _decisions(form: Mapping[str, str]) -> list[Decision]:
    """The button that was pressed, with all that was changed in the form; dropping and withdrawing need no more."""
    pressed = form.get("decision", "")
    if pressed in (DROP, WITHDRAW):
        return [Decision(pressed)]
    found = [Decision(RELABEL, name, form[name]) for name in LABELS if form.get(name)]
    written = " ".join(form.get("caption", "").split())
    if written != " ".join(form.get("caption_before", "").split()):
        found.append(Decision(EDIT, None, written))
    if pressed == KEEP:
        found.append(Decision(KEEP))
    if not found:
        raise UserError("nothing was changed: choose a label, write a caption, or press Keep or Drop")
    return found


def _after(items: list[Item], pair_id: str | None) -> str | None:
    """The pair that follows this one in the queue, from its end on the first; None where no other is left."""
    ids = [item.pair_id for item in items]
    at = ids.index(pair_id) + 1 if pair_id in ids else 0
    others = [each for each in ids[at:] + ids[:at] if each != pair_id]
    return others[0] if others else None


async def _page(
    corpus: Corpus,
    writing: Writing,
    asked: str | None,
    form: Mapping[str, str],
    said: list[str],
    trouble: str | None = None,
) -> str:
    items = await corpus.ask(queue)
    pair_id = asked or (items[0].pair_id if items else None)
    pair: dict[str, Any] | None = None
    if pair_id is not None:
        try:
            pair = await corpus.ask(explain, pair_id)
        except UserError as error:
            trouble = trouble or str(error)
    if pair and pair["id"] is None:
        trouble = trouble or f"{pair_id}: {pair['status']}"
        pair = None
    key = pair["id"] if pair else None
    item = next((item for item in items if item.pair_id == key), None)
    return render(
        "review.html",
        "corpus_db.browse",
        pair=pair,
        alike=await corpus.ask(_alike, key, pair["duplicates"]) if pair else [],
        standing=_standing(pair["verdicts"]) if pair else [],
        suspicions=item.suspicions if item else [],
        kinds=KINDS,
        labels=[(name, VALUES[name]) for name in LABELS],
        doubtful={each.field for each in item.suspicions} if item else set(),
        following=_after(items, key),
        left=len(items),
        done=writing.done,
        by=writing.by,
        token=writing.token,
        form=form,
        said=said,
        trouble=trouble,
        pair_address=pair_address,
        **corpus.nav,
    )


def _standing(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The verdicts that count."""
    kept = verdicts.counting({**row, "at": at} for at, row in enumerate(rows))
    return [rows[row["at"]] for row in kept.values()]


def _alike(engine: Engine, pair_id: str, duplicates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Other pairs of the same picture, with their labels."""
    clusters = [row["cluster"] for row in duplicates]
    duplicate, pair, current = table("duplicate").c, table("pair").c, table("current_version").c
    members = select(duplicate.pair_id, duplicate.cluster, duplicate.kind).where(
        duplicate.cluster.in_(clusters), duplicate.version_id.in_(select(current.version_id))
    )
    with engine.connect() as connection:
        rows = connection.execute(members).all()
    of_captions = {row.cluster for row in rows if row.kind == "caption"}
    pictured = {row.pair_id for row in rows if row.cluster not in of_captions} - {pair_id}
    columns = (pair.id, pair.image_sha256, pair.caption, pair.status, *(pair[name] for name in LABELS))
    statement = select(*columns).where(pair.id.in_(pictured)).order_by(pair.id).limit(_MOST)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]
