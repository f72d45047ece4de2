"""Clean captions: what is in an image and only that, as a list of sentences."""

from __future__ import annotations

import random
from dataclasses import dataclass

from rgc.phantom.findings import Finding, Place, measured_mm, places
from rgc.phantom.scene import Scene
from rgc.phantom.wordings import LOOK, REGION, SHORT, Words

SEQUENCE = {"T1": "T1-weighted", "T2": "T2-weighted", "FLAIR": "FLAIR", "PD": "proton density", "STIR": "STIR"}


@dataclass(frozen=True)
class Shown:
    """What a caption may speak of: the scene, whether the side can be told, and a montage's other plane."""

    scene: Scene
    side_visible: bool
    view_name: str  # "AP", "PA", "lateral", ... as the plane's pick list has it
    other_plane: str = ""


def tells_side(finding: Finding) -> bool:
    """Whether the place alone tells the side, as the spleen does."""
    return _place(finding).only != ""


def caption(shown: Shown, words: Words, rng: random.Random) -> list[str]:
    """The sentences of one image's caption."""
    finding = shown.scene.finding
    study = _study(shown, words, rng)
    if not finding.present:
        pattern = rng.choice(words.normal)
        return _sentences(pattern, study, "", "", "", "", rng.choice(words.rest_normal), "is")
    if rng.random() < 0.09:
        return [f"{SHORT[finding.region]} {_short_noun(finding, words)}."]
    phrase = noun_phrase(finding, shown.side_visible, words, LOOK[shown.scene.modality] if rng.random() < 0.6 else {})
    return _sentences(
        rng.choice(words.present), study, phrase, *_size(finding, words, rng), rng.choice(words.rest), "", _be(finding)
    )


def case_caption(shown: list[Shown], words: Words, rng: random.Random) -> list[str]:
    """The sentences of one caption that is true of all images of a case."""
    finding = shown[0].scene.finding
    if not finding.present:
        regions = REGION[finding.region]
        return [rng.choice(words.bare_normal).format(region=regions, Region=_capital(regions))]
    phrase = noun_phrase(finding, all(s.side_visible for s in shown), words, {})
    return _sentences(
        rng.choice(words.bare), "", phrase, *_size(finding, words, rng), rng.choice(words.rest), "", _be(finding)
    )


def noun_phrase(finding: Finding, side_visible: bool, words: Words, look: dict[str, str]) -> str:
    """Such as "a lobulated mass in the left frontal lobe"."""
    place = _place(finding)
    both = finding.side == "bilateral" and side_visible
    side = finding.side if side_visible and not both and not place.only else ""
    where = _where(place.name, side) + (" on both sides" if both else "")
    if finding.kind == "fracture":
        return f"{'fractures' if both else 'a fracture'} of the {where}"
    if finding.kind == "atrophy":
        loss = {"head": "focal atrophy", "chest": "scarring with volume loss", "abdomen": "focal atrophy"}
        return f"{loss.get(finding.region, 'fatty atrophy')} {'in' if finding.region == 'chest' else 'of'} the {where}"
    if finding.kind == "effusion":
        return _fluid(finding, where, side, both, words)
    noun = _short_noun(finding, words)
    adjective = look.get(finding.kind, "")
    full = f"{adjective} {noun}".strip()
    if both:
        return f"{_plural(full)} in the {where}"
    return f"{'an' if full[0] in 'aeiou' else 'a'} {full} in the {where}"


def _fluid(finding: Finding, where: str, side: str, both: bool, words: Words) -> str:
    which = "bilateral " if both else f"{side} " if side else ""
    article = "" if both else "a "
    end = "s" if both else ""
    if finding.region == "head":
        return f"{article}{which}subdural {_plural(words.noun['fluid']) if both else words.noun['fluid']}"
    if finding.region == "chest":
        return f"{article}{which}pleural {words.noun['effusion']}{end}"
    if finding.region == "abdomen":
        return f"free fluid in the {where}"
    if finding.region == "spine":
        return f"{article}{_plural(words.noun['fluid']) if both else words.noun['fluid']} in the {where}"
    return f"{'effusions' if both else 'an effusion'} in the {where}"


def _plural(noun: str) -> str:
    if " of " in noun:
        head, _, rest = noun.partition(" of ")
        return f"{_plural(head)} of {rest}"
    return noun + ("es" if noun.endswith("s") else "s")


def _where(name: str, side: str) -> str:
    if not side:
        return name
    for joint in (" of the ", "behind the "):
        if joint in name:
            return name.replace(joint, f"{joint}{side} ")
    return f"{side} {name}"


def _place(finding: Finding) -> Place:
    return next(p for p in places(finding.kind, finding.region, finding.side) if p.name == finding.place)


def _short_noun(finding: Finding, words: Words) -> str:
    if finding.kind == "calcification" and "kidney" in finding.place:
        return "stone"
    if finding.kind == "effusion":
        return "fluid"
    if finding.kind == "atrophy" and finding.region == "chest":
        return "scarring"
    return words.noun.get(finding.kind, finding.kind)


def _be(finding: Finding) -> str:
    plural = finding.side == "bilateral" and finding.kind != "atrophy"
    return "are" if plural and not (finding.kind == "effusion" and finding.region == "abdomen") else "is"


def _size(finding: Finding, words: Words, rng: random.Random) -> tuple[str, str]:
    """A size inside a sentence and one in a sentence of its own; empty where a size would be vague."""
    values = {"mm": str(measured_mm(finding)), "cm": f"{measured_mm(finding) / 10:.1f}"}
    inside, own = rng.choice(words.size).format(**values), rng.choice(words.size_sentence).format(**values)
    if finding.kind in ("fracture", "effusion", "atrophy") or finding.side == "bilateral":
        return "", ""
    return (inside if rng.random() < 0.4 else ""), own


def _study(shown: Shown, words: Words, rng: random.Random) -> str:
    """Such as "axial T2-weighted MRI of the head"; parts are left out at times."""
    scene = shown.scene
    noun = rng.choice(words.study[scene.modality])
    plane = shown.view_name
    if shown.other_plane:
        plane = f"{plane} and {shown.other_plane}"
    parts = [plane] if rng.random() < 0.75 or scene.modality == "dx" else []
    if scene.modality == "mr":
        parts += [SEQUENCE[scene.technique]]
        if scene.contrast and rng.random() < 0.7:
            parts.insert(-1, "contrast-enhanced")
    if scene.modality == "ct" and rng.random() < 0.4:
        parts.append("contrast-enhanced" if scene.contrast else "noncontrast")
    region = REGION[scene.region]
    if scene.region in ("knee", "hand") and scene.section != "sagittal" and scene.modality != "us":
        region = f"{region}s"
    if rng.random() < 0.2:
        return " ".join([*parts, region.rstrip("s") if region != "lumbar spine" else region, noun])
    return " ".join([*parts, noun, "of the", region])


def _sentences(
    pattern: str, study: str, finding: str, size: str, measure: str, rest: str, restn: str, be: str
) -> list[str]:
    """Fill a pattern in and split it at its own sentence ends."""
    if finding.startswith(("free", "focal", "fatty", "scarring")):
        be = "is"
    out = []
    for part in pattern.replace(". {", ".\n{").split("\n"):
        text = part.format(
            study=study,
            Study=_capital(study),
            finding=finding,
            Finding=_capital(finding),
            size=size,
            measure=measure,
            rest=rest,
            restn=restn,
            be=be,
        )
        if text.strip():
            out.append(_capital(text.strip()))
    return out


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
