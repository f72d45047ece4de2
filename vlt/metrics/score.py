"""Two files of texts, scored: what `python cli.py score` reads and prints."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corpus_db.read import UserError
from vlt.metrics import clinical, text
from vlt.metrics.intervals import interval

Texts = dict[str, list[str]]
TERMS = {"precision": "clinical-term precision", "recall": "clinical-term recall", "f1": "clinical-term F1"}


def score(references: Path, hypotheses: Path, raw: bool = False) -> dict[str, Any]:
    """The scores of two files by name, None where there is none; `absent` says why. UserError names file and id.

    NAME_95 is the interval of a score, [low, high], by samples of ids; of one id there is none.
    """
    told, said = read(references), single(hypotheses)
    text.check(told, said, (str(references), str(hypotheses)))
    found = text.sentence_scores(told, said, raw=raw)
    counts = clinical.counts(told, said)
    terms = {TERMS[name]: value for name, value in clinical.ratios(*counts.sum(0).tolist()).items()}
    why = {name: "no finding word there" for name, value in terms.items() if value is None}
    values = found.values | terms
    spans = {}
    if len(said) > 1:
        samples = text.resampled(found, found.ids)
        samples |= {TERMS[name]: some for name, some in clinical.resampled(counts, found.ids).items()}
        spans = {f"{name}_95": interval(some) for name, some in samples.items() if values[name] is not None}
    return {"pairs": len(said), **values, **spans, "absent": {**found.absent, **why}}


def render(found: dict[str, Any]) -> Iterator[str]:
    """`score` as a table, six digits after the point, with 95 % intervals."""
    names = [name for name in found if name != "absent" and not name.endswith("_95")]
    for name in names:
        value, span = found[name], found.get(f"{name}_95")
        told = f"absent ({found['absent'][name]})" if value is None else str(value)
        told = f"{value:.6f}" if isinstance(value, float) else told
        yield f"{name.ljust(max(map(len, names)))}  {told}" + (f"  [{span[0]:.3f}, {span[1]:.3f}]" if span else "")


def read(path: Path) -> Texts:
    """The texts of a JSON file {id: [text, ...]}; one text may stand without brackets."""
    try:
        pairs = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}); give {{id: [text, ...]}}") from error
    if not isinstance(pairs, _Pairs):
        raise UserError(f"{path}: {_kind(pairs)} where an object is needed; give {{id: [text, ...]}}")
    texts: Texts = {}
    for key, value in pairs:
        if key in texts:
            raise UserError(f"{path}: id {key!r} stands there twice; give each id once, with all its texts")
        texts[key] = _listed(path, key, value)
    return texts


def single(path: Path) -> dict[str, str]:
    """The texts of a JSON file that has one for each id."""
    texts = read(path)
    for key, several in texts.items():
        if len(several) != 1:
            raise UserError(f"{path}: id {key!r} has {len(several)} texts; a hypothesis is one text")
    return {key: only for key, (only,) in texts.items()}


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it stands, ids that stand there twice as well."""


def _listed(path: Path, key: str, value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, _Pairs) or not isinstance(value, list):
        raise UserError(f"{path}: id {key!r} has {_kind(value)}; give a text or a list of texts")
    if wrong := [one for one in value if not isinstance(one, str)]:
        raise UserError(f"{path}: id {key!r} has {_kind(wrong[0])} among its texts; give texts alone")
    return value


def _kind(value: Any) -> str:
    """What JSON calls a value."""
    if isinstance(value, _Pairs):
        return "an object"
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true or false"
    return "a list" if isinstance(value, list) else "a text" if isinstance(value, str) else "a number"
