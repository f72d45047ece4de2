"""METEOR: its Java program counts what matches, and scores are made here of counts that add up.

Source: Denkowski and Lavie, WMT 2014, with meteor-1.5.jar's settings for English. The program itself scores a set of
texts by the sums of their counts; made here they are the same to all digits, and a bootstrap needs no more Java.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pycocoevalcap.meteor import meteor as java

START_SECONDS = 120  # that Java may take before the first text is counted; it reads 60 MB of paraphrases
TEXT_SECONDS = 1  # and for each text
COUNTS = 23
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # of words that match by form, stem, synonym and paraphrase
_OPTIONS = ("-", "-", "-stdio", "-l", "en", "-norm")


def absent() -> str | None:
    """Why METEOR cannot be measured here, as far as that shows before Java is started; None where it can."""
    if not Path(java.__file__).with_name(java.METEOR_JAR).is_file():
        return f"no {java.METEOR_JAR} in pycocoevalcap"
    return None if shutil.which("java") else "no Java"


def counted(pairs: Sequence[tuple[str, Sequence[str], str]]) -> tuple[np.ndarray | None, str | None]:
    """Counts of texts (id, references, hypothesis) -> float64 (M, 23), by one start of Java; or None and why not.

    A row: words of the hypothesis and of the reference that agrees best, function words of each; of each kind of match
    (WEIGHTS) the content words of both that match and the function words of both; chunks, matched words of both. A text
    that is its reference has no chunks: that is how the program adds it to others.
    """
    if why := absent():
        return None, why
    lines = (" ||| ".join(["SCORE", *map(_one_line, [*references, said])]) + "\n" for _, references, said in pairs)
    command = ["java", "-jar", "-Xmx2G", java.METEOR_JAR, *_OPTIONS]
    try:
        done = subprocess.run(
            command,
            input="".join(lines).encode(),
            capture_output=True,
            timeout=START_SECONDS + TEXT_SECONDS * len(pairs),
            cwd=Path(java.__file__).parent,
        )
    except OSError as error:
        return None, f"Java failed: {error}"
    except subprocess.TimeoutExpired as error:
        return None, f"Java failed: timed out after {error.timeout:.0f} seconds; {_longest(pairs)}"
    try:
        rows = np.array([line.split() for line in done.stdout.splitlines()], float).reshape(len(pairs), COUNTS)
    except ValueError:
        return None, f"Java failed: {_trouble(done.stderr.decode(errors='replace'))}; {_longest(pairs)}"
    kinds = _kinds(rows)
    whole = (kinds[..., ::2].sum((1, 2)) == rows[:, 0]) & (kinds[..., 1::2].sum((1, 2)) == rows[:, 1])
    rows[whole & (rows[:, 20] == 1), 20] = 0
    return rows, None


def score(counts: np.ndarray) -> np.ndarray:
    """METEOR (...) of counts (..., 23): rows of `counted`, or sums of rows for texts as a whole."""
    lengths, functions, kinds = counts[..., 0:2], counts[..., 2:4], _kinds(counts)
    matched = np.swapaxes(DELTA * kinds[..., :2] + (1 - DELTA) * kinds[..., 2:], -1, -2) @ WEIGHTS  # ..., 2
    weight = DELTA * (lengths - functions) + (1 - DELTA) * functions
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = np.moveaxis(matched / weight, -1, 0)
        mean = 1 / ((1 - ALPHA) / precision + ALPHA / recall)
        pieces = counts[..., 20] / (counts[..., 21:23].sum(-1) / 2)
        return np.nan_to_num(np.maximum(mean * (1 - GAMMA * pieces**BETA), 0))  # no match, no score


def _kinds(counts: np.ndarray) -> np.ndarray:
    """Matches (..., 4, 4): of each kind, content words of the hypothesis and the reference, function words of them."""
    return counts[..., 4:20].reshape(*counts.shape[:-1], 4, 4)


def _trouble(told: str) -> str:
    """The line of what Java wrote to stderr that says what failed, not where in its code."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    naming = [line for line in lines if "Exception" in line or "Error" in line]
    return (naming or lines or ["no answer"])[0].removeprefix('Exception in thread "main" ')


def _longest(pairs: Sequence[tuple[str, Sequence[str], str]]) -> str:
    """Which text is the longest, as it is what uses up Java's memory and time."""
    words, key = max(
        ((len(text.split()), key) for key, references, said in pairs for text in (*references, said)),
        key=lambda found: found[0],
    )
    return f"the longest text: id {key!r}, {words} words"


def _one_line(text: str) -> str:
    """A text that cannot break the program's protocol of one line a text, `|||` between texts."""
    return " ".join(text.replace("|||", "| | |").split())
