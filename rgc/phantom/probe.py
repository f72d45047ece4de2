"""How much a linear model learns of a finding from grey levels and image size alone: the sample's check on shortcuts.

python -m rgc.phantom.probe DIR      # a sample folder; prints one table
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from rgc.phantom.shapes import Array

FOLDS = 5


class Score(NamedTuple):
    """Cross-validated accuracy with modality and region alone, with grey levels added, and of the commonest class."""

    target: str
    images: int
    commonest: float
    labels_only: float
    with_greys: float


def grey_features(pixels: np.ndarray) -> list[float]:
    """Mean, spread, a 16-bin histogram (shares) and the size of an image, uint8 (rows, columns)."""
    share = np.bincount((pixels >> 4).ravel(), minlength=16) / pixels.size
    return [pixels.mean() / 255, pixels.std() / 255, *share.tolist(), pixels.shape[0] / 512, pixels.shape[1] / 512]


def accuracy(features: Array, classes: list[str]) -> float:
    """Cross-validated accuracy of least squares with a small ridge on one-of-n classes; features (n, k)."""
    names = sorted(set(classes))
    wanted = np.array([[c == n for n in names] for c in classes], dtype=float)  # n, classes
    spread = features.std(0)
    x = (features - features.mean(0)) / np.where(spread > 1e-9, spread, 1)
    x = np.hstack([x, np.ones((len(x), 1))])
    order = np.random.default_rng(0).permutation(len(x))
    right = 0
    for fold in range(FOLDS):
        test = order[fold::FOLDS]
        train = np.setdiff1d(order, test)
        a = x[train].T @ x[train] + 0.02 * len(train) * np.eye(x.shape[1])
        weight = np.linalg.solve(a, x[train].T @ wanted[train])
        right += int((np.argmax(x[test] @ weight, 1) == np.argmax(wanted[test], 1)).sum())
    return right / len(x)


def probe(directory: Path) -> list[Score]:
    """Scores for a finding's presence, kind and side."""
    rows = [json.loads(line) for line in (directory / "truth.jsonl").read_text(encoding="utf-8").split("\n") if line]
    rows = [r for r in rows if r["radiology"] and not r["montage"] and r["duplicate_of"] is None]
    greys = [grey_features(np.asarray(Image.open(directory / "images" / r["name"]))) for r in rows]
    scores = []
    for target in ("presence", "finding", "side"):
        keep = [i for i, r in enumerate(rows) if target == "presence" or r[target] not in (None, "bilateral")]
        classes = [_class(rows[i], target) for i in keep]
        labels = np.array([_labels(rows[i]) for i in keep])
        both = np.hstack([labels, np.array([greys[i] for i in keep])])
        commonest = max(classes.count(c) for c in set(classes)) / len(classes)
        scores.append(Score(target, len(keep), commonest, accuracy(labels, classes), accuracy(both, classes)))
    return scores


def _class(row: dict[str, Any], target: str) -> str:
    return str(row["finding"] is not None) if target == "presence" else str(row[target])


def _labels(row: dict[str, Any]) -> list[float]:
    """One-of-n codes of modality with region."""
    names = [
        f"{m} {r}"
        for m in ("CT", "MR", "DX", "US", "NM")
        for r in ("head", "chest", "abdomen", "spine", "knee", "hand")
    ]
    return [float(n == f"{row['modality']} {row['region']}") for n in names]


def main() -> None:
    """Print the table."""
    print(f"{'target':10}{'images':>8}{'commonest':>11}{'modality+region':>17}{'+greys, size':>14}")
    for s in probe(Path(sys.argv[1])):
        print(f"{s.target:10}{s.images:8}{s.commonest:11.3f}{s.labels_only:17.3f}{s.with_greys:14.3f}")


if __name__ == "__main__":
    main()
