"""Caption cleaning: captions a second on one core beside plain peers, and the cost of each doubling of length.

    python bench/clean.py FILE           # lines of {"caption": ...} or {"raw": ...}, as MedPix-2.0's images.jsonl

Peers, on the same captions in the same process: whitespace folding alone (a floor: it does nothing else), thirty plain
patterns applied one after another with `re.sub` and no test for a literal first, and ftfy (which
mends Unicode alone) where it is installed. The second table times each rule and the whole cleaner on hostile texts of
growing length: a ratio of about 2 a doubling is linear, 4 is quadratic.
"""

import json
import re
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from corpus_db.clean import RULES, clean  # noqa: E402

RUNS = 7
LENGTHS = (125_000, 250_000, 500_000, 1_000_000)
UNITS = (
    "a",
    "A",
    " ",
    "  a",
    ".",
    ". A",
    "(",
    ")",
    "((",
    "(a",
    "(arrow ",
    "[",
    "*",
    "-",
    "- a\n",
    "\n",
    "1) ",
    "A - B. ",
    "A: b, ",
    "R, ",
    "R. a ",
    "fig. 1 ",
    "in Fig 1 ",
    "Figure 1, 2 and ",
    "http://",
    "www.",
    "http://a(",
    "@",
    "a@",
    "a.b@",
    "1/",
    "1-",
    "1 ",
    "12 ",
    "TR ",
    "TR/TE 1/",
    "<p",
    "<b ",
    "&amp;",
    "&",
    "\\",
    "\\n",
    "\u0301",
    "\u200b",
    "et al. 2001 ",
    "2001;1:",
    "(2001;1(",
    "Dr. A ",
    "Dr. ",
    "Smith John ",
    "Hospital ",
    "A Hospital ",
    "of the Hospital ",
    "MD, ",
    "John Smith, ",
    "May 1 ",
    "May ",
    "93-year-old ",
    "the ",
    "same patient ",
    "the same patient in ",
    "what ",
    "what? ",
    "shown in ",
    "arrow, ",
    "white arrow and ",
    "courtesy of ",
    "? ",
    "he was ",
    "biopsy of the ",
    "history of ",
    "one two ",
    "(1) a 2) ",
)
PLAIN = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        r"\s+",
        r"<[^>]+>",
        r"&\w+;",
        r"https?://\S+",
        r"www\.\S+",
        r"pmid:? ?\d+",
        r"doi:? ?\S+",
        r"\(fig(?:ure)?\.? ?\d+\w?\)",
        r"^fig(?:ure)?\.? ?\d+\w?[.:]",
        r"\((?:white|black|red)? ?arrows?\)",
        r"\(arrowheads?\)",
        r"\(\*\)",
        r"\([a-h]\)",
        r"^\d+[.)] ",
        r"^[-*] ",
        r"\bL\. ",
        r"\bR\. ",
        r"\bRt\b",
        r"\bLt\b",
        r"[^.?!]*\?",
        r"courtesy of [^.]*\.",
        r"reprinted [^.]*\.",
        r"copyright [^.]*\.",
        r"\d+-year-old",
        r"\bdr\.? \w+",
        r"\w+ hospital",
        r"\w+ university",
        r"\d{1,2}/\d{1,2}/\d{2,4}",
        r"\(tr[^)]*\)",
        r"\bte ?=? ?\d+",
    )
)


def captions(path: Path) -> list[str]:
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    return [row.get("caption", row.get("raw")) or "" for row in rows]


def plain(text: str) -> str:
    for pattern in PLAIN:
        text = pattern.sub(" ", text)
    return " ".join(text.split())


def rates(works: dict[str, Callable[[str], object]], texts: list[str]) -> dict[str, list[float]]:
    """Captions a second of processor time in some runs, in turn: what else the machine does falls on all."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(RUNS):
        for name, work in works.items():
            began = time.process_time()
            for text in texts:
                work(text)
            found[name].append(len(texts) / (time.process_time() - began))
    return found


def peers() -> dict[str, Callable[[str], object]]:
    found: dict[str, Callable[[str], object]] = {
        "whitespace folding": lambda text: " ".join(text.split()),
        f"{len(PLAIN)} plain patterns": plain,
    }
    try:
        import ftfy
    except ImportError:
        print("(ftfy is not installed: left out)")
    else:
        found["ftfy.fix_text"] = ftfy.fix_text
    return {**found, f"corpus_db.clean ({len(RULES)} rules)": clean}


def seconds(work: Callable[[str], object], text: str) -> float:
    began = time.process_time()
    work(text)
    return time.process_time() - began


def worst(name: str, work: Callable[[str], object]) -> None:
    """Print the slowest hostile text for one rule, and what each doubling of it costs."""

    def cost(unit: str, length: int) -> float:
        return seconds(work, unit * (length // len(unit)))

    times = {unit: cost(unit, LENGTHS[0]) for unit in UNITS}
    unit = max(times, key=lambda key: times[key])
    row = [times[unit], *(cost(unit, length) for length in LENGTHS[1:])]  # a text seen before is found in caches
    ratios = " ".join(f"{after / max(before, 1e-6):5.1f}" for before, after in pairwise(row))
    print(f"{name:22} {unit!r:26} " + " ".join(f"{value:7.3f}" for value in row) + f"   {ratios}", flush=True)


def main() -> None:
    texts = captions(Path(sys.argv[1]))
    print(f"{len(texts)} captions, {statistics.mean(map(len, texts)):.0f} characters in the mean, {RUNS} runs\n")
    print(f"{'captions/s':32} {'median':>10} {'best':>10}")
    for name, found in rates(peers(), texts).items():
        print(f"{name:32} {statistics.median(found):10,.0f} {max(found):10,.0f}")
    heads = " ".join(f"{length // 1000:6}k" for length in LENGTHS)
    print(f"\n{'rule':22} {'slowest text':26} {heads}   cost per doubling")
    for rule in RULES:
        worst(rule.name, rule.apply)
    worst("all of them", clean)


if __name__ == "__main__":
    main()
