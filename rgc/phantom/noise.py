"""Caption noise: the kinds that MedPix's captions carry, at the rates that were measured on 2,050 of them.

Each kind is drawn on its own. The policy of the clean text is that of the caption cleaner: what a careful reader
expects back is the clean caption, or None where the caption says nothing of its image (a drop reason tells why).
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from rgc.phantom.noise_words import PHRASES, Phrases

# Share of captions. Newlines, double spaces, missing stops, templates, figure labels: counts of the data's README over
# 2,050; the others were counted with patterns over 1,850 captions. Below 0.003 a floor keeps each kind present.
RATES = {
    "template": 21 / 2050,
    "placeholder": 0.003,
    "cross_reference_only": 0.003,
    "empty": 0.003,
    "history_only": 0.003,
    "figure_label": 22 / 2050,
    "missing_stop": 415 / 2050,
    "double_space": 652 / 2050,
    "newline": 182 / 2050,
    "pointer": 0.033,
    "laterality_abbrev": 0.0216,
    "smart_punct": 0.0146,
    "legend_key": 0.0146,
    "list_marker": 0.014,
    "bullet": 0.0097,
    "history": 0.008,
    "quiz": 0.006,
    "tab": 0.005,
    "all_caps": 0.0032,
    "cross_reference": 0.003,
    "credit": 0.003,
    "citation": 0.0027,
    "image_n_of_m": 0.0027,
    "panel_label": 0.003,
    "seq_params": 0.003,
    "url": 0.003,
    "name": 0.003,
    "date": 0.003,
    "hospital": 0.003,
    "age_over_89": 0.003,
    "special_space": 0.003,
    "space_before_punct": 0.003,
    "glued_sentence": 0.003,
    "escape": 0.003,
    "html": 0.003,
}
# Some kinds need something to work on, which about this share of captions has: their own rate is so much higher.
FITTING = {"laterality_abbrev": 0.28, "smart_punct": 0.16, "seq_params": 0.3, "escape": 0.14, "pointer": 0.52}
FITTING |= {"glued_sentence": 0.35}
FINDING = re.compile(r"(?i)mass|lesion in|cyst|hem[oa]|calcif|stone|fluid|effusion|fracture|atrophy|scarring")
DROPPING = ("template", "placeholder", "cross_reference_only", "empty", "history_only")
LEVELS = {"none": 0.0, "medpix": 1.0, "heavy": 4.0}


class Noisy(NamedTuple):
    """A caption as served, its clean text (None: to be dropped, for `drop_reason`), and the kinds of noise on it."""

    served: str
    clean: str | None
    drop_reason: str | None
    kinds: list[str]


def add_noise(sentences: list[str], modality: str, noise: str, wordings: str, rng: random.Random) -> Noisy:
    """Put noise on a clean caption. Each kind has its own draw, so that levels differ only in how many pass."""
    level, words = LEVELS[noise], PHRASES[wordings]
    clean = " ".join(sentences)
    chance = {kind: rng.random() for kind in RATES}
    wanted = [kind for kind, rate in RATES.items() if chance[kind] < min(0.85, rate * level / FITTING.get(kind, 1))]
    for kind in DROPPING:
        if kind in wanted:
            return Noisy(rng.choice(getattr(words, kind)), None, kind, [kind])
    if "age_over_89" in wanted:
        aged = rng.choice(words.old_person)
        age = rng.randint(90, 99)
        if not sentences[0].endswith("."):
            wanted.remove("age_over_89")
        else:
            noun = "woman" if "woman" in aged else "man"
            clean = " ".join([f"{sentences[0][:-1]} in a {noun} over 89.", *sentences[1:]])
            sentences = [f"{sentences[0][:-1]} {aged.format(age=age)}.", *sentences[1:]]
    parts, applied = list(sentences), []
    for kind in wanted:
        changed = _apply(kind, parts, modality, words, rng)
        if changed is not None:
            parts = changed
            applied.append(kind)
    return Noisy(_join(parts, applied, words, rng), clean, None, applied)


def _apply(kind: str, parts: list[str], modality: str, words: Phrases, rng: random.Random) -> list[str] | None:
    """The sentences with one kind of noise, or None where it does not fit. Kinds that join sentences wait for _join."""
    first, rest = parts[0], parts[1:]
    if kind in (
        "double_space",
        "newline",
        "tab",
        "missing_stop",
        "all_caps",
        "special_space",
        "age_over_89",
        "html",
        "legend_key",
    ):
        return parts
    if kind == "figure_label":
        return [rng.choice(words.figure_label).format(n=rng.randint(1, 9)) + first, *rest]
    if kind in ("pointer", "panel_label", "seq_params", "image_n_of_m", "date"):
        return _insert(kind, parts, modality, words, rng)
    if kind == "laterality_abbrev":
        short = rng.choice((("L", "R"), ("Lt", "Rt"), ("L.", "R.")))
        new = [re.sub(r"\b(left|right) (?=[a-z])", lambda m: short["lr".index(m[1][0])] + " ", p) for p in parts]
        return new if new != parts else None
    if kind == "smart_punct":
        new = [p.replace("-", "\u2013").replace("'", "\u2019") for p in parts]
        return new if new != parts else None
    if kind == "escape":
        return [first.replace(",", "\\,", 1), *rest] if "," in first else None
    if kind == "space_before_punct":
        return [first.replace(",", " ,", 1), *rest] if "," in first else [first[:-1] + " .", *rest]
    if kind in ("history", "quiz", "cross_reference", "citation", "credit", "url", "name", "hospital"):
        phrase = rng.choice(getattr(words, kind)).format(
            n=rng.randint(2, 9), age=rng.randint(19, 84), pmid=rng.randint(10**7, 2 * 10**7)
        )
        return [phrase, *parts] if kind == "history" and rng.random() < 0.5 else [*parts, phrase]
    return parts if len(parts) > 1 or kind != "glued_sentence" else None


def _insert(kind: str, parts: list[str], modality: str, words: Phrases, rng: random.Random) -> list[str] | None:
    """Noise inside a sentence, before its full stop."""
    at = 0
    if kind == "seq_params" and modality != "mr":
        return None
    if kind == "pointer":  # an arrow points to a finding
        found = [n for n, part in enumerate(parts) if FINDING.search(part) and "(" not in part]
        if not found or "second lesion" in parts[found[0]]:
            return None
        at = found[0]
    phrase = rng.choice(getattr(words, kind)).format(
        n=rng.randint(1, 5),
        m=rng.randint(6, 9),
        tr=rng.randint(20, 60) * 100,
        te=rng.randint(80, 120),
        day=rng.randint(1, 28),
        year=rng.randint(1999, 2015),
    )
    new = list(parts)
    new[at] = f"{parts[at][:-1]} {phrase}."
    return new


def _join(parts: list[str], kinds: list[str], words: Phrases, rng: random.Random) -> str:
    """One text of the sentences, with the noise of white space, lists, capitals and the final stop."""
    gap = "  " if "double_space" in kinds else " "
    if "bullet" in kinds:
        text = "\n".join(f"- {p}" for p in parts)
    elif "list_marker" in kinds:
        text = "\n".join(f"{n}) {p}" for n, p in enumerate(parts, 1))
    elif "newline" in kinds and len(parts) > 1:
        text = rng.choice(("\n", "\n\n", " \n")).join(parts)
    elif "glued_sentence" in kinds:
        text = "".join(parts)
    else:
        text = gap.join(parts)
    if "double_space" in kinds and "  " not in text:
        text = _swap_space(text, "  ", rng)
    if "newline" in kinds and "\n" not in text:
        text = _swap_space(text, "\n", rng)
    if "tab" in kinds:
        text = _swap_space(text, "\t", rng)
    if "special_space" in kinds:
        text = (
            re.sub(r"(\d) (mm|cm)", "\\1\u2009\\2", text)
            if re.search(r"\d [mc]m", text)
            else _swap_space(text, "\u00a0", rng)
        )
    if "html" in kinds:
        text = rng.choice(("<p>{}</p>", "{}<br>", "{}&nbsp;")).format(text)
    if "all_caps" in kinds:
        text = text.upper()
    if "missing_stop" in kinds:
        text = text[:-1] if text.endswith(".") else text
    if "legend_key" in kinds:
        text = f"{text}\n{rng.choice(words.legend_key)}"
    return text


def _swap_space(text: str, new: str, rng: random.Random) -> str:
    """Put `new` for one of the spaces between words."""
    spaces = [m.start() for m in re.finditer(r"(?<=[A-Za-z,]) (?=[A-Za-z])", text)]
    if not spaces:
        return text + new
    at = rng.choice(spaces)
    return text[:at] + new + text[at + 1 :]
