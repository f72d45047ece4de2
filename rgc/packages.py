"""Fetch figures that an imported corpus lacks out of PubMed Central's article packages, politely and resumably.

ROCO names for each image the package of its article (a .tar.gz below ftp.ncbi.nlm.nih.gov/pub/pmc) and the figure's
file in it. A package is asked for once, whatever it holds; each figure's fate is its image's row of the ledger.
"""

import gzip
import io
import socket
import tarfile
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException, IncompleteRead
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener
from urllib.robotparser import RobotFileParser

from sqlalchemy import Engine, select

from corpus_db import db
from corpus_db.errors import UserError
from corpus_db.gather import newest_records, table
from corpus_db.importers.engine import compare
from corpus_db.ledger import Ledger, Outcome, Task
from corpus_db.reasons import REASONS, is_transient
from corpus_db.store import MAX_BYTES, BadImage, ImageStore
from corpus_db.tombstones import refused_bytes
from rgc import settings
from rgc.classify import REDIRECTS, refusal
from rgc.site import Refused, Site, at_url

PMC = "https://ftp.ncbi.nlm.nih.gov"  # what its ftp addresses answer over HTTP
HOST = "ftp.ncbi.nlm.nih.gov"
FOLDER = "/pub/pmc/"
MAX_PACKAGE = 512 * 2**20  # bytes of a package, and of what it unpacks to
MAX_UNANSWERED = 20  # packages in a row: the site is away
SAY_EVERY = 10.0  # seconds
TRIED = ("missing_file", "not_in_package", *(key for key, reason in REASONS.items() if reason.transient))
Say = Callable[[str], None]


@dataclass
class Figure:
    """An image that the corpus names and that is not here."""

    task: Task
    name: str  # of the image, as the source has it
    file: str  # in its package


@dataclass
class Fetched:
    """What came of it."""

    packages: int = 0
    images: Counter[str] = field(default_factory=Counter)  # ok, or a reason


def fetch(engine: Engine, source: str, mirror: str | None, say: Say) -> Fetched:
    """Ask for the packages of all images of a source that are missing, or failed for a reason that may pass.

    `mirror`: a server that has the same folders. Interrupted, the same call goes on. The caller holds `db.exclusive`.
    Raises UserError where the site is away, or the source names no package.
    """
    try:
        site = at_url(mirror or PMC)
    except UserError:
        raise UserError(f"--mirror {mirror}: not an address; give one as http://127.0.0.1:8765") from None
    wanted = _wanted(engine, source)
    found = Fetched()
    if not wanted:
        say(f"{source}: no image is missing whose package is known")
        return found
    with engine.begin() as connection:
        store = ImageStore(db.image_root(engine.url), refused_bytes(connection))
    ledger = _ledger(engine, source)
    asker = _Asker(site)
    say(f"{len(wanted)} packages of {site.base} hold {sum(map(len, wanted.values()))} missing images")
    unanswered, told = 0, time.monotonic()
    for path in sorted(wanted):
        body = asker.get(path)
        found.packages += 1
        outcomes = list(_outcomes(wanted[path], body, store))
        ledger.record(outcomes)
        found.images.update(outcome.reason or "ok" for outcome in outcomes)
        unanswered = unanswered + 1 if isinstance(body, str) and is_transient(body) else 0
        if unanswered >= MAX_UNANSWERED:
            raise UserError(f"{site.base}: stopped answering ({REASONS[str(body)].says}); the same command goes on")
        if time.monotonic() - told > SAY_EVERY:
            told = time.monotonic()
            say(f"{found.packages} of {len(wanted)} packages, {found.images['ok']} images")
    return found


def _ledger(engine: Engine, source: str) -> Ledger:
    with engine.connect() as connection:
        fetch_, sources = table("fetch"), table("source")
        named = select(sources.c.id).where(sources.c.name == source)
        source_id = connection.execute(named).scalar_one()
        last = select(fetch_.c.crawl_id).where(fetch_.c.source_id == source_id).order_by(fetch_.c.crawl_id.desc())
        return Ledger(engine, source_id, connection.execute(last.limit(1)).scalar_one(), compare)


def _wanted(engine: Engine, source: str) -> dict[str, list[Figure]]:
    """A package's path below the site -> the images that it holds."""
    fetch_, sources = table("fetch"), table("source")
    with engine.connect() as connection:
        source_id = connection.execute(select(sources.c.id).where(sources.c.name == source)).scalar()
        columns = [fetch_.c[name] for name in Task._fields]
        missing = select(*columns).where(
            fetch_.c.source_id == source_id,
            fetch_.c.kind == "image",
            fetch_.c.status == "failed",
            fetch_.c.reason.in_(TRIED),
        )
        tasks = {row.path: Task(*row) for row in connection.execute(missing)}
        found: dict[str, list[Figure]] = defaultdict(list)
        for _, body in newest_records(connection, source_id or 0):
            images = body.get("images") if isinstance(body, dict) else None
            for image in images if isinstance(images, list) else []:
                task = tasks.get(str(image.get("path"))) if isinstance(image, dict) else None
                if task and (path := package_path(image.get("dlink"))) and isinstance(image.get("figure"), str):
                    found[path].append(Figure(task, str(image["key"]), image["figure"]))
    return found


def package_path(address: Any) -> str | None:
    """The path of a package below the site; None for an address that is none of PubMed Central's packages."""
    try:
        parts = urlsplit(address) if isinstance(address, str) else None
        path = Site("pmc", PMC).resolve(parts.path) if parts and parts.hostname == HOST else ""
    except (ValueError, Refused):
        return None
    return path if path.startswith(FOLDER) and path.endswith(".tar.gz") else None


def _outcomes(figures: list[Figure], body: bytes | str, store: ImageStore) -> Iterator[Outcome]:
    """What becomes of the figures of a package: its bytes, or the reason why there are none."""
    held = body if isinstance(body, str) else unpacked(body, {figure.file for figure in figures})
    for figure in figures:
        outcome = Outcome(figure.task, "ok", attempts=figure.task.attempts + 1, upstream_name=figure.name)
        try:
            if isinstance(held, str):
                raise BadImage(held)
            if figure.file not in held:
                raise BadImage("not_in_package")
            outcome.image = store.put(held[figure.file])
            outcome.sha256 = outcome.image.sha256
        except BadImage as bad:
            outcome.status, outcome.reason = REASONS[bad.reason].status, bad.reason
        yield outcome


def unpacked(body: bytes, wanted: set[str]) -> dict[str, bytes] | str:
    """The wanted files of a package by their base names, or the reason why it cannot be read."""
    found: dict[str, bytes] = {}
    try:
        capped: Any = _Capped(gzip.GzipFile(fileobj=io.BytesIO(body)))
        with tarfile.open(fileobj=capped, mode="r|") as package:
            for member in package:
                name = member.name.rpartition("/")[2]
                if name in wanted and name not in found and member.isreg() and member.size <= MAX_BYTES:
                    file = package.extractfile(member)
                    found[name] = file.read() if file else b""
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, OSError, ValueError):
        return found or "broken_archive"
    return found


class _Capped:
    """A stream that ends with an error after MAX_PACKAGE bytes, whatever a small package unpacks to."""

    def __init__(self, file: gzip.GzipFile):
        self.file, self.left = file, MAX_PACKAGE

    def read(self, size: int) -> bytes:
        body = self.file.read(size)
        self.left -= len(body)
        if self.left < 0:
            raise ValueError("unpacks to too much")
        return body


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class _Asker:
    """Asks a site for one thing after the other, with the crawl's manners."""

    def __init__(self, site: Site):
        self.site, self.opener, self.last = site, build_opener(_NoRedirect), 0.0
        self.rules = RobotFileParser()
        robots = self._once("/robots.txt")
        self.rules.parse(robots.decode("utf-8", "replace").splitlines() if isinstance(robots, bytes) else [])

    def get(self, path: str) -> bytes | str:
        """The body of an answer, or the reason why there is none, after some attempts where it may pass."""
        if not self.rules.can_fetch(settings.ROBOT, self.site.url(path)):
            return "robots"
        answer: bytes | str = ""
        for attempt in range(settings.MAX_ATTEMPTS):
            answer = self._once(path)
            if not (isinstance(answer, str) and is_transient(answer)):
                break
            time.sleep((0.02 if self.site.is_loopback else settings.DELAY_S) * 2**attempt)
        return answer

    def _once(self, path: str) -> bytes | str:
        if not self.site.is_loopback:
            time.sleep(max(0.0, self.last + settings.DELAY_S - time.monotonic()))
        request = Request(self.site.url(path), headers={"User-Agent": settings.user_agent()})
        try:
            with self.opener.open(request, timeout=settings.TIMEOUT_S) as response:
                body = response.read(MAX_PACKAGE + 1)
            return body if len(body) <= MAX_PACKAGE else "too_large"
        except HTTPError as error:
            return "redirect_away" if error.code in REDIRECTS else refusal(error.code)
        except IncompleteRead:
            return "short_body"
        except (URLError, OSError, HTTPException) as error:
            return _lost(getattr(error, "reason", error))
        finally:
            self.last = time.monotonic()


def _lost(error: Any) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    return "name_not_found" if isinstance(error, socket.gaierror) else "connection_lost"


def render_fetched(found: Fetched) -> Iterator[str]:
    """What came of it, as lines."""
    yield f"{found.packages} packages asked for: {found.images['ok']} images came in."
    for reason, count in sorted(found.images.items()):
        if reason != "ok":
            yield f"not there   {count} images: {REASONS[reason].says}"
