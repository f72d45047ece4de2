"""What a version's build left out, by reason, with examples."""

from collections import defaultdict
from dataclasses import dataclass

from corpus_db.report.ask import Ask, Picture, brief, cut

_EXAMPLES = 8  # of a reason
_CAPTION = 200  # characters
SAYS = {
    "not_radiology": "a photograph, a slide, a drawing",
    "modality_not_assigned": "the source names no modality, and no caption or tag does",
    "unknown_modality": "the source names a modality that nobody knows",
    "template": "the text of a form that was never filled in",
    "placeholder": "a text that stands for none",
    "empty": "no caption, or none after cleaning",
    "cross_reference_only": "a caption that only points to another figure",
    "history_only": "a caption that tells of the patient, not of the image",
    "gone_upstream": "no longer at its source",
    "excluded": "in an evaluation set, or in the case of an image that is",
    "duplicate": "repeats the image and the caption of an older pair",
    "split_conflict": "would join two groups of different splits",
    "reviewed": "a person left it out",
}


@dataclass(frozen=True)
class Drop:
    """One reason, how many pairs it left out, and some of them."""

    reason: str
    says: str
    pairs: int
    share: float
    examples: list[Picture]


_CHOSEN = """
    WITH ordered AS (
        SELECT version_drop.reason, version_drop.detail, version_drop.pair_id, pair.caption_raw, image.path,
               row_number() OVER (
                   PARTITION BY version_drop.reason ORDER BY coalesce(pair.image_sha256, ''), version_drop.pair_id
               ) AS place
        FROM version_drop LEFT JOIN pair ON pair.id = version_drop.pair_id
        LEFT JOIN image ON image.sha256 = pair.image_sha256
        WHERE version_id = :v
    )
    SELECT reason, detail, pair_id, caption_raw, path FROM ordered WHERE place <= :most ORDER BY reason, place
"""


def drops(ask: Ask, raw: bool) -> list[Drop]:
    """All reasons, most first; `raw`: with the captions as they came, which must not be published."""
    examples = defaultdict(list)
    for row in ask.rows(_CHOSEN, most=_EXAMPLES):
        says = brief(row.caption_raw) if raw else ""
        tags = (cut(row.detail, _CAPTION),) if row.detail else ()
        examples[row.reason].append(Picture(row.path, says, row.pair_id, tags))
    counts = ask.rows(
        "SELECT reason, count(*) FROM version_drop WHERE version_id = :v GROUP BY reason ORDER BY count(*) DESC, reason"
    )
    total = sum(count for _, count in counts) or 1
    return [Drop(name, SAYS.get(name, ""), count, count / total, examples[name]) for name, count in counts]
