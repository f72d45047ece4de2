"""Datasette's hooks: our pages, thumbnails in its tables, full-text search, and the guard before everything."""

import asyncio
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from datasette import hookimpl
from datasette.filters import FilterArguments
from datasette.utils.asgi import BadRequest, NotFound, Response
from markupsafe import Markup

from corpus_db.browse import home, lineage, review_page
from corpus_db.browse.corpus import DATABASE, REVIEW, Corpus, pair_address
from corpus_db.browse.guard import OUR_POLICY, Guard
from corpus_db.browse.pictures import SIDES
from corpus_db.errors import UserError
from corpus_db.search import fts5

_PAIR_COLUMNS = frozenset(("pair_id", "like_pair_id"))
_IMAGE_COLUMNS = frozenset(("image_sha256", "a_sha256", "b_sha256"))
_OWN_SHA256 = frozenset(("rgc", "version_pair", "image"))  # tables whose sha256 is an image's
_SEARCHED = {"rgc": "pair_id", "pair": "id"}  # tables with a search box -> the column that names the pair
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOT_HERE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 160"><rect width="160" height="160" fill="#8884"/>'
    '<text x="80" y="84" font-family="sans-serif" font-size="14" text-anchor="middle" fill="#888">image not here</text>'
    "</svg>"
)


@hookimpl
def asgi_wrapper(datasette: Any) -> Callable[[Any], Any]:
    """Everything goes through the guard."""
    writes = frozenset([REVIEW]) if _corpus(datasette).writing else frozenset[str]()
    return lambda app: Guard(app, writes)


@hookimpl
def skip_csrf(scope: Any) -> bool:
    """The review page has a token of its own, which holds without cookies, too."""
    return bool(scope["path"] == REVIEW)


@hookimpl
def register_routes() -> list[tuple[str, Any]]:
    """Addresses that Datasette does not have."""
    return [
        (r"^/$", _home),
        (r"^/pair/?$", _find),
        (r"^/pair/(?P<key>.+)$", _pair),
        (r"^/-/(?P<size>thumb|image)/(?P<sha256>[^/]+)$", _picture),
        (rf"^{REVIEW}$", _review),
    ]


@hookimpl
def menu_links(datasette: Any) -> list[dict[str, str]]:
    """In Datasette's own menu."""
    links = [("The current version", f"/{DATABASE}/rgc"), ("All pairs", f"/{DATABASE}/pair")]
    links += [("Review", REVIEW)] if _corpus(datasette).writing else []
    return [{"label": label, "href": href} for label, href in links]


@hookimpl
def render_cell(row: Any, value: Any, column: str, table: str | None, database: str) -> Markup | None:
    """Ids of pairs as links to their page, hashes of images as thumbnails; all else as Datasette shows it."""
    if isinstance(value, dict):  # a foreign key with its label
        value = value["value"]
    if database != DATABASE or not isinstance(value, str):
        return None
    if column in _PAIR_COLUMNS:
        return Markup('<a href="{}">{}</a>').format(pair_address(value), value)
    names = row.keys()
    own = column == "sha256" and (table in _OWN_SHA256 or (table is None and "image_path" in names))
    if not _SHA256.fullmatch(value) or not (own or (column in _IMAGE_COLUMNS and table != "tombstone")):
        return None
    pair = row["id"] if table == "pair" else row["pair_id"] if "pair_id" in names else None
    leads_to = pair_address(pair) if pair else f"/-/image/{value}"
    thumb = Markup('<a class="thumb" href="{}"><img src="/-/thumb/{}" alt="image {}" loading="lazy"></a>')
    return thumb.format(leads_to, value, value[:8])


@hookimpl(trylast=True)  # after Datasette's own, which finds no full text of a view and says so
def filters_from_request(request: Any, database: str, table: str) -> FilterArguments | None:
    """A search box over the current version's captions, with the words that `search` takes."""
    if database != DATABASE or table not in _SEARCHED:
        return None
    words = request.args.get("_search") or ""
    context = {"supports_search": True, "search": words}
    if not words.strip():
        return FilterArguments([], {}, [], context)
    try:
        query = fts5(words)
    except UserError as error:
        raise BadRequest(str(error)) from None
    clause = f"{_SEARCHED[table]} IN (SELECT pair_id FROM caption_fts WHERE caption_fts MATCH :corpus_words)"
    return FilterArguments([clause], {"corpus_words": query}, [f'captions hold "{words}"'], context)


def _corpus(datasette: Any) -> Corpus:
    corpus: Corpus = datasette.corpus
    return corpus


def _html(page: str, status: int = 200) -> Response:
    return Response.html(page, status, {"content-security-policy": OUR_POLICY, "cache-control": "no-store"})


async def _home(datasette: Any) -> Response:
    corpus = _corpus(datasette)
    if corpus.path is None:
        return Response.redirect(REVIEW)
    return _html(await home.page(corpus, datasette.questions))


async def _find(request: Any) -> Response:
    key = (request.args.get("key") or "").strip()
    return Response.redirect(pair_address(key) if key else "/")


async def _pair(request: Any, datasette: Any) -> Response:
    key = unquote(request.url_vars["key"])
    try:
        return _html(await lineage.page(_corpus(datasette), key))
    except UserError as error:
        return _html(lineage.missing(_corpus(datasette), str(error)), 404)


async def _picture(request: Any, datasette: Any) -> Response:
    sha256, side = request.url_vars["sha256"], SIDES[request.url_vars["size"]]
    if not _SHA256.fullmatch(sha256):
        raise NotFound("an image is named by the 64 hex digits of its sha256")
    body = await asyncio.to_thread(_corpus(datasette).pictures.get, sha256, side)
    if body is None:
        raise NotFound("no image of that sha256 in this database")
    if not body:
        return Response(_NOT_HERE, 200, {"cache-control": "no-store"}, "image/svg+xml")
    kept = {"cache-control": "private, no-cache", "etag": f'"{sha256}-{side}"'}  # asked again: it may have been purged
    if request.headers.get("if-none-match") == kept["etag"]:
        return Response(b"", 304, kept, "image/jpeg")
    return Response(body, 200, kept, "image/jpeg")


async def _review(request: Any, datasette: Any) -> Response:
    corpus = _corpus(datasette)
    if corpus.writing is None:
        raise NotFound("reviewing is not served here; start it with: python cli.py review")
    return await review_page.answer(request, corpus, corpus.writing, _html)
