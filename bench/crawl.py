"""Crawl speed and memory beside a bare Scrapy spider that only downloads the same URLs from the same server.

    python bench/crawl.py URL            # a server of MedPix's shape, on loopback

Both run as processes of their own, in turn, with the same Scrapy settings; the table gives each run and the ratio. The
second table crawls with a growing number of cases and prints the peak memory of the process.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RUNS = 3


def ours(url: str, folder: Path, limit: str) -> None:
    """One crawl into a fresh database; prints resources, seconds, peak memory in MiB."""
    from rgc.crawl import run

    began = time.perf_counter()
    outcome = run(url, str(folder / "bench.db"), "all" if limit == "all" else int(limit), False, lambda line: None)
    counts = [count for kinds in outcome.summary["changes"].values() for count in kinds.values()]
    _print(sum(counts), time.perf_counter() - began)


def bare(url: str, folder: Path) -> None:
    """Download the same URLs with nothing but Scrapy: no parsing, no store, no ledger."""
    from scrapy import Request, Spider
    from scrapy.crawler import AsyncCrawlerProcess

    from rgc.settings import scrapy_settings
    from rgc.site import at_url

    paths = json.loads((folder / "paths.json").read_text())

    class BareSpider(Spider):
        name = "bare"
        got = 0

        async def start(self):  # type: ignore[no-untyped-def]
            for path in paths:
                yield Request(url + path, dont_filter=True)

        def parse(self, response):  # type: ignore[no-untyped-def]
            BareSpider.got += 1

    process = AsyncCrawlerProcess(scrapy_settings(at_url(url)) | {"ITEM_PIPELINES": {}})
    began = time.perf_counter()
    process.crawl(BareSpider)
    process.start()
    _print(BareSpider.got, time.perf_counter() - began)


def _print(count: int, seconds: float) -> None:
    scale = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    print(json.dumps({"count": count, "seconds": seconds, "peak_mib": peak}))


def in_process(*arguments: str) -> dict[str, float]:
    """Run one of the two in a fresh process."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def known_paths(database: Path) -> list[str]:
    """What a crawl asked for and got."""
    from corpus_db import db, sql

    rows = sql.query(db.open_readonly(str(database)), "SELECT path FROM fetch WHERE status = 'ok' ORDER BY id").rows
    return [row[0] for row in rows]


def main(url: str) -> None:
    """Print both tables."""
    ratios = []
    print("| run | bare Scrapy /s | crawl /s | ratio |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_process("ours", url, name, "all")
        (folder / "paths.json").write_text(json.dumps(known_paths(folder / "bench.db")))
        for run in range(1, RUNS + 1):
            with tempfile.TemporaryDirectory() as fresh:
                peer, crawl = in_process("bare", url, name), in_process("ours", url, fresh, "all")
            rates = [result["count"] / result["seconds"] for result in (peer, crawl)]
            ratios.append(rates[1] / rates[0])
            print(f"| {run} | {rates[0]:.0f} | {rates[1]:.0f} | {ratios[-1]:.2f} |", flush=True)
    print(f"\nmedian ratio {statistics.median(ratios):.2f}\n\n| cases | resources | peak MiB |\n| --- | --- | --- |")
    for limit in ("75", "150", "300", "600"):
        with tempfile.TemporaryDirectory() as fresh:
            result = in_process("ours", url, fresh, limit)
        print(f"| {limit} | {result['count']:.0f} | {result['peak_mib']:.0f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1].rstrip("/"))
    elif sys.argv[1:2] == ["ours"]:
        ours(sys.argv[2], Path(sys.argv[3]), sys.argv[4])
    elif sys.argv[1:2] == ["bare"]:
        bare(sys.argv[2], Path(sys.argv[3]))
    else:
        sys.exit(__doc__)
