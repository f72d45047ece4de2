"""Item pipelines: an image's bytes into the store, then every outcome into the ledger."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corpus_db.ledger import Outcome
from corpus_db.reasons import REASONS
from corpus_db.store import BadImage, ImageStore, StoredImage

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from rgc.spider import CaseSpider

STORE_THREADS = 4  # they mostly wait for the disk; decoding and fsync both let go of the interpreter
TYPE_OF = {"JPEG": {"image/jpeg", "image/jpg", "image/pjpeg"}, "JPEG2000": {"image/jp2", "image/jpx"}}


@dataclass
class Arrival:
    """An outcome on its way into the ledger, with the image's bytes where it has any."""

    outcome: Outcome
    body: bytes | None = None
    declared_type: str = ""  # of Content-Type, without parameters


class StorePipeline:
    """Verify and keep images; one that fails becomes a failed outcome with its reason."""

    def __init__(self, store: ImageStore):
        self.store = store
        self.threads = ThreadPoolExecutor(STORE_THREADS, "store")

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> "StorePipeline":
        spider: CaseSpider = crawler.spider  # type: ignore[assignment]
        return cls(spider.store)

    async def process_item(self, item: Arrival) -> Arrival:
        if item.body is None:
            return item
        outcome, body, item.body = item.outcome, item.body, None
        try:
            outcome.image = await asyncio.get_running_loop().run_in_executor(self.threads, self.store.put, body)
        except BadImage as bad:
            outcome.status, outcome.reason = REASONS[bad.reason].status, bad.reason
        else:
            outcome.sha256 = outcome.image.sha256
            outcome.reason = None if _is_declared(outcome.image, item.declared_type) else "type_differs"
        return item

    def close_spider(self) -> None:
        self.threads.shutdown()


class LedgerPipeline:
    """Hand outcomes to the frontier, which commits them in batches."""

    def __init__(self, crawler: "Crawler"):
        self.crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> "LedgerPipeline":
        return cls(crawler)

    def process_item(self, item: Arrival) -> Arrival:
        self.crawler.spider.frontier.settle(item.outcome)  # type: ignore[union-attr]
        return item


def _is_declared(image: StoredImage, declared: str) -> bool:
    """Whether the declared type is the real one; a server that declares nothing in particular does not lie."""
    generic = declared in ("", "application/octet-stream", "binary/octet-stream")
    return generic or declared in TYPE_OF.get(image.format, {f"image/{image.format.lower()}"})
