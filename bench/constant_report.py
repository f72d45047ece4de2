"""The best constant report of an R2Gen-like annotation: chosen on validation, scored on test, in two tokenisations.

    python bench/constant_report.py annotation.json

The annotation maps train, val and test (or any third key) to rows with a `report`. The second row of the table cleans
texts as R2Gen's loader of IU X-Ray describes it (arXiv 2010.16056): lower-case, no punctuation but full stops, words
that stand fewer than three times unknown, at most 60 words.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vlt.metrics import clinical, text
from vlt.tasks.report import constant

WORDS, LEAST = 60, 3


def cleaned(report: str) -> str:
    """Sentences of lower-case words, each with a full stop apart."""
    sentences = [" ".join(re.sub(r"[^\w\s]|_", "", part).split()) for part in report.lower().split(". ")]
    return " . ".join(part for part in sentences if part) + " ."


def limited(report: str, counts: Mapping[str, int]) -> str:
    """At most WORDS words, rare ones unknown."""
    return " ".join(word if counts[word] >= LEAST else "<unk>" for word in cleaned(report).split()[:WORDS])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotation", type=Path)
    told = json.loads(parser.parse_args().annotation.read_text())
    training, validation = ([row["report"] for row in told.pop(name)] for name in ("train", "val"))
    test = [row["report"] for row in next(iter(told.values()))]
    counts = Counter(word for report in (*training, *validation, *test) for word in cleaned(report).split())
    report, on_validation = constant(training, validation)
    print(f"{len(training)} / {len(validation)} / {len(test)} reports")
    print(f"BLEU-4 on validation {on_validation:.3f}: {report}\n")
    print(f"| | {' | '.join(text.METRICS)} | clinical F1 |\n| --- |{' --- |' * (len(text.METRICS) + 1)}")
    for name, form, raw in (("as `score`", str, False), ("as R2Gen's loader", lambda one: limited(one, counts), True)):
        references = {str(number): [form(one)] for number, one in enumerate(test)}
        said = dict.fromkeys(references, form(report))
        values = text.scores(references, said, raw=raw)
        f1 = clinical.f1(references, said)["f1"]
        cells = ["absent" if value is None else f"{value:.3f}" for value in (*values.values(), f1)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
