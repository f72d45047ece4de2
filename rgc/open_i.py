"""Open-i's search for MedPix's collection as a site: pages of items, a raw record an item, its picture to be fetched.

A second way to MedPix (openi.nlm.nih.gov/api/search?coll=mpx): pictures of at most 512 pixels a side, under MedPix's
numbers. A page names the items from m to n, counted from 1.
"""

import json
from collections.abc import Set as AbstractSet
from typing import Any
from urllib.parse import parse_qs, urlsplit

from corpus_db.importers.base import ENCOUNTER, text
from corpus_db.importers.open_i import body_of, name_of
from corpus_db.ledger import Child, Outcome, Said
from corpus_db.tombstones import redact
from rgc.parse import ShapeError
from rgc.site import Refused, Site

BASE = "https://openi.nlm.nih.gov"
PAGE = 100  # items


def page(first: int) -> Child:
    """The page that begins with an item."""
    return Child(f"/api/search?coll=mpx&m={first}&n={first + PAGE - 1}", "list")


ROOTS = (page(1),)  # it says how many items there are


def read_page(path: str, body: Any, site: Site, outcome: Outcome, withdrawn: AbstractSet[str]) -> None:
    """Fill in what a page names: its items as raw records, their pictures and, on the first page, the other pages."""
    if not isinstance(body, dict) or not isinstance(body.get("total"), int):
        raise ShapeError("wrong_shape")
    items = body.get("list", [])
    if not isinstance(items, list):
        raise ShapeError("wrong_shape")
    begin = int(parse_qs(urlsplit(path).query)["m"][0])
    last = min(body["total"], site.limit or body["total"])
    children, records = [], []
    for item in items[: last - begin + 1]:
        name = name_of(item)
        if name is None or name in withdrawn:
            continue
        child = _picture(item, name, site)
        said = body_of(item, name, child.path)
        redact(said, withdrawn)
        records.append(Said(ENCOUNTER, name, json.dumps(said, sort_keys=True)))
        children.append(child)
    if items and not records and not withdrawn:
        raise ShapeError("wrong_shape")
    if begin == 1:
        children += [page(first) for first in range(PAGE + 1, last + 1, PAGE)]
    outcome.records, outcome.children = records, children


def _picture(item: dict[str, Any], name: str, site: Site) -> Child:
    address = text(item, "imgLarge")
    if address is None:
        return Child(f"/imgs/{name}", "image", "no_address")
    try:
        return Child(site.resolve(address), "image")
    except Refused as refusal:
        return Child(f"{address}#{name}", "image", refusal.reason)
