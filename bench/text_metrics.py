"""Published scores of texts beside ours: the table of docs/score.md.

    python bench/text_metrics.py REAL_DATA

REAL_DATA holds text_metrics/ (nlg-eval's example; one constant report for the splits of IU X-ray, with its scores).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vlt.metrics.text import BLEU, METRICS, References, sentence_scores

NLG_EVAL = (0.55, 0.428174, 0.284043, 0.201143, 0.522104, 1.242192, 0.295797)  # its README gives six digits
NAMES = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L")


def cases(folder: Path) -> Iterator[tuple[str, References, dict[str, str], dict[str, float]]]:
    """Name, references, hypotheses and published scores."""
    said, *told = ((folder / f"nlgeval_{part}.txt").read_text().splitlines() for part in ("hyp", "ref1", "ref2"))
    references = {str(line): texts for line, texts in enumerate(zip(*told, strict=True))}
    yield (
        "nlg-eval",
        references,
        {str(line): text for line, text in enumerate(said)},
        dict(zip(METRICS, NLG_EVAL, strict=True)),
    )
    for split in ("val", "test"):
        read = {part: json.loads((folder / f"template/{split}_{part}.json").read_text()) for part in ("refs", "result")}
        published = json.loads((folder / f"template/{split}_summary.json").read_text())
        scores = dict(zip((*BLEU, "ROUGE-L"), (published[name] for name in NAMES), strict=True))
        yield f"constant, {split}", read["refs"], {key: one for key, (one,) in read["result"].items()}, scores


def main(real: Path) -> None:
    """Print the table."""
    print("| texts | metric | published | ours |\n| --- | --- | --- | --- |")
    for name, references, hypotheses, published in cases(real / "text_metrics"):
        found = sentence_scores(references, hypotheses)
        for metric, value in found.values.items():
            ours = f"absent ({found.absent[metric]})" if value is None else value
            print(f"| {name} | {metric} | {published.get(metric, '-')} | {ours} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
