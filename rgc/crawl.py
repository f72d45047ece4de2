"""Run one crawl: choose the site, hold the database, drive the spider, say what came of it."""

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.request import Request, urlopen

from sqlalchemy import Engine

from corpus_db import db as database
from corpus_db import recent
from corpus_db.errors import UserError
from corpus_db.importers.engine import compare as engine_compare
from corpus_db.ledger import Ledger
from corpus_db.passes import ask_anew_for_missing, finish, give_up, open_pass, open_source
from corpus_db.store import ImageStore
from corpus_db.tombstones import refused_bytes
from rgc import open_i, settings
from rgc.classify import OPEN_I, ROOTS
from rgc.parse import ShapeError, load, read_list
from rgc.parse import compare as medpix_compare
from rgc.site import MEDPIX, Site, at_url

Say = Callable[[str], None]
Limit = int | Literal["all"] | None
PROBE_TIMEOUT_S = 5
SWITCH_S = 0.0005
LIVE = ("medpix", "open-i")
LIVE_LIMIT = 500  # cases, unless the user says otherwise
# NLM states "over 12,000 patient case scenarios ... nearly 59,000 images" on MedPix's front page; the mean size is that
# of the 315 MedPix originals in VQA-RAD. A topic a case is an upper bound.
IMAGES_PER_CASE, IMAGE_BYTES = 59_000 / 12_000, 52_450


@dataclass
class CrawlOutcome:
    """How a crawl ended."""

    database: str
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0


def run(site: str, db: str | None, limit: Limit, retry_failed: bool, say: Say) -> CrawlOutcome:
    """Crawl the site that the user named (auto, medpix, sample or a URL) into `db`, or into the site's own database.

    Raises UserError where the site, the database or the disk is at fault; what came until then is kept.
    """
    notes: list[str] = []
    name = site
    if site == "auto":
        trouble = probe(MEDPIX)
        name = "sample" if trouble else "medpix"
        if trouble:
            notes = [f"{MEDPIX} cannot be used from here ({trouble}).", "This corpus is of the embedded sample site."]
            say(f"{notes[0]} Crawling the embedded sample site instead.")
    with _open_site(name, say) as opened:
        url = db or str(recent.data_folder() / f"{opened.name}.db")
        with database.filling(url) as engine:
            outcome = _crawl(opened, engine, url, limit, retry_failed, say)
    for line in notes:
        say(line)
    return outcome


def probe(base: str) -> str | None:
    """Why the site cannot be crawled, or None where its first list of cases reads well within a few seconds."""
    request = Request(f"{base}{ROOTS[0].path}", headers={"User-Agent": settings.user_agent()})
    try:
        with urlopen(request, timeout=PROBE_TIMEOUT_S) as response:
            read_list(load(response.read(settings.MAX_RESPONSE_BYTES))[1])
    except ShapeError:
        return "it answers, but not with MedPix's list of cases"
    except (OSError, ValueError) as error:  # URLError and timeouts are OSErrors
        reason = getattr(error, "reason", error)
        return getattr(reason, "strerror", None) or str(reason) or type(error).__name__
    return None


@contextlib.contextmanager
def _open_site(name: str, say: Say) -> Iterator[Site]:
    if name == "medpix":
        yield Site("medpix", MEDPIX, settings.EXTRA_HOSTS)
    elif name == "open-i" or name.startswith("open-i+"):
        try:
            base = at_url(name.partition("+")[2] or open_i.BASE).base
        except UserError:
            raise UserError(f"{name}: not a site; give open-i, or open-i+http://127.0.0.1:8765") from None
        yield Site("open-i", base, settings.EXTRA_HOSTS, OPEN_I)
    elif name.startswith("sample:"):
        from rgc.phantom import serving

        folder = Path(name.partition(":")[2])
        if not (folder / "truth.jsonl").is_file():
            raise UserError(f"{folder}: no sample in it; render one with: python cli.py sample -o {folder}")
        with serving(folder) as base:
            yield Site("sample", base)
    elif name == "sample":
        from rgc.phantom import Recipe, generate, serving

        recipe = Recipe()
        folder = recent.data_folder() / "cache" / f"sample-{recipe.digest}"
        if not folder.exists():
            say(f"Rendering the sample site ({recipe.cases} cases, once, in two to three minutes) ...")
        with serving(generate(recipe, folder, say=say)) as base:
            yield Site("sample", base)
    else:
        yield at_url(name, settings.EXTRA_HOSTS)


def _crawl(site: Site, engine: Engine, url: str, limit: Limit, retry_failed: bool, say: Say) -> CrawlOutcome:
    cases = LIVE_LIMIT if limit is None and site.name in LIVE and not site.is_loopback else limit
    cases = None if cases == "all" else cases
    site = replace(site, limit=cases)
    root = database.image_root(engine.url)
    with engine.begin() as connection:
        store = ImageStore(root, refused_bytes(connection))
        ask_anew_for_missing(connection, root)
    store.sweep()
    ledger, state = _open_ledger(site, engine, cases, retry_failed, say)
    say(f"Crawling {site.base} into {database.shown(engine.url)} ({state}).")
    if retry_failed and not ledger.count_due():
        say("Nothing failed for a reason that may pass: there is nothing to retry.")
        return CrawlOutcome(url, finish(ledger))
    began = time.monotonic()
    spider = _run_spider(site, ledger, store, cases, say)
    if spider.unanswered:
        ledger.put_back(spider.unanswered)
    summary = finish(ledger)
    arrived = bool(summary["statuses"].get("ok"))
    if arrived:
        recent.remember("crawled", url)
    if arrived or not spider.trouble:
        for line in summary_lines(summary, time.monotonic() - began):
            say(line)
    if spider.trouble:
        raise spider.trouble
    if spider.interrupted:
        say(f"Interrupted with {ledger.count_due()} known resources to go; the same command goes on.")
        return CrawlOutcome(url, summary, 130)
    if cases is not None and ledger.last_case is not None:
        say(f"Took the first {cases} cases; --limit all (make rgc LIMIT=all) goes on from here.")
    if not arrived and not retry_failed:
        raise UserError(f"{site.base}: nothing could be fetched; the reasons are above")
    return CrawlOutcome(url, summary)


def _open_ledger(site: Site, engine: Engine, limit: int | None, retry_failed: bool, say: Say) -> tuple[Ledger, str]:
    """The ledger of the pass to work on; a limited pass with nothing left within its limit gives way to a new one."""
    says = {
        "first": "a first crawl",
        "resumed": "going on",
        "again": "looking for changes",
        "retry": "retrying failures",
    }
    source_id, before = open_source(engine, site.name, site.shape, site.base)
    roots, compare = (open_i.ROOTS, engine_compare) if site.shape == OPEN_I else (ROOTS, medpix_compare)
    if before not in (None, site.base) and site.name != "sample":
        say(f"Crawled from {before} before; if {site.base} is another site, give it its own with --db.")
    while True:
        crawl_id, state = open_pass(engine, source_id, roots, retry_failed)
        ledger = Ledger(engine, source_id, crawl_id, compare, partial=site.shape == OPEN_I and site.limit is not None)
        if state != "resumed":
            break
        ledger.limit_cases(limit)
        if ledger.count_due():
            break
        give_up(ledger)
    ledger.last_case = None
    return ledger, says[state]


def _run_spider(site: Site, ledger: Ledger, store: ImageStore, limit: int | None, say: Say) -> Any:
    """Run Scrapy to its end, once a process; returns the spider."""
    from scrapy.crawler import AsyncCrawlerProcess

    from rgc.spider import CaseSpider

    def before_cases(total: int) -> None:
        if not total:
            return
        if site.is_loopback:
            say(f"{total} cases listed.")
        else:
            say(estimate(total, limit))

    # The store's threads take the interpreter often and briefly; at the default 5 ms each turn costs the crawl a wait.
    sys.setswitchinterval(SWITCH_S)
    process = AsyncCrawlerProcess(settings.scrapy_settings(site))
    crawler = process.create_crawler(CaseSpider)
    process.crawl(crawler, site=site, ledger=ledger, store=store, limit=limit, say=say, before_cases=before_cases)
    with _interruptible(crawler):
        process.start(install_signal_handlers=False)
    return crawler.spider


@contextlib.contextmanager
def _interruptible(crawler: Any) -> Iterator[None]:
    """Ctrl-C or SIGTERM ends the crawl in good order; a second one at once (the ledger stands that, too)."""

    def end(signum: int, _: object) -> None:
        from twisted.internet import reactor  # not before Scrapy has installed the one it wants

        signal.signal(signum, signal.SIG_DFL)
        crawler.spider.interrupted = True
        reactor.callFromThread(crawler.spider.end_early)

    before = {signum: signal.signal(signum, end) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def estimate(cases: int, limit: int | None) -> str:
    """What a full crawl of so many cases takes at the present delay, and what will be done."""
    requests = len(ROOTS) + cases * (2 + IMAGES_PER_CASE)
    images = cases * IMAGES_PER_CASE
    full = (
        f"A full crawl: {cases:,} cases, about {images:,.0f} images, {images * IMAGE_BYTES / 1e9:.1f} GB, "
        f"{requests * settings.DELAY_S / 3600:.0f} hours at {settings.DELAY_S:g} s a request."
    )
    return full if limit is None or limit >= cases else f"{full} Taking {limit} cases; --limit all takes them all."


def summary_lines(summary: dict[str, Any], seconds: float) -> Iterator[str]:
    """The summary of a crawl, for people."""
    changes = summary["changes"]
    yield f"{'':12}{'new':>9}{'unchanged':>11}{'changed':>9}{'gone':>7}"
    for kind in sorted(changes, key=["list", "encounter", "topic", "image"].index):
        counts = [changes[kind].get(name, 0) for name in ("new", "unchanged", "changed", "gone")]
        yield f"{kind:12}{counts[0]:>9}{counts[1]:>11}{counts[2]:>9}{counts[3]:>7}"
    for reason, count in summary["reasons"].items():
        yield f"{count:>9}  {reason}"
    if summary["drift"]:
        yield "drift: " + ", ".join(f"{name} {count}" for name, count in summary["drift"].items())
    done = sum(count for status, count in summary["statuses"].items() if status != "pending")
    yield f"{done} resources, {seconds:.0f} s in this run."
