"""Read a caption's votes: how it names its own study, and what it describes, where its words leave no doubt."""

from collections.abc import Iterable, Iterator
from functools import cached_property

from corpus_db import regions, text_terms
from corpus_db.phrases import Hit, Phrases, Words
from corpus_db.votes import Vote

VOTER = "text"
NAMED, SEQUENCE, SIDE, PART, IMPLIED = 0.95, 0.93, 0.9, 0.85, 0.8  # confidence, by what was read

_PHRASES = Phrases((*text_terms.TERMS, *regions.WORDS))
_RELAXATIONS = frozenset(("t1", "t2", "pd"))
_SIDES = {"L": "left", "R": "right"}
_NEAR = 6  # words
_STOPS = frozenset(".;!?")
_AT_ONCE = frozenset(("XC", "SM", "ES"))  # a caption of such a picture opens with its name
_PROJECTIONS = frozenset(("ap", "pa", "lateral", "frontal", "decubitus", "cc", "mlo"))
_SECTIONAL = frozenset(("CT", "MR", "PT", "NM", "US"))


def text_votes(caption: str) -> list[Vote]:
    """What a caption says of its image, one vote a field at most; silent where it names several or another study.

    Fields: modality, sequence, contrast, technique, montage, plane, region, laterality. Takes any string, raises on
    none, and costs time linear in its length.
    """
    read = _Caption(caption)
    votes = [*read.modality()]
    modality = votes[0].value if votes else None
    return [*votes, *read.sub_labels(modality), *read.plane(modality), *read.region(), *read.laterality()]


class _Caption:
    """A caption's words, the phrases found in it, and the vote that each field gets from them."""

    def __init__(self, text: str) -> None:
        self.words = Words(text)
        self.said: dict[str, list[tuple[str, Hit]]] = {}  # field -> its values, in the caption's order
        found = [*_PHRASES.find(self.words)]
        taken = {at for hit in found for at in range(hit.first, hit.last)}
        bare = [*_relaxations(self.words), *_letters(self.words), *_pairs(self.words)]
        for hit in sorted([*found, *(hit for hit in bare if hit.first not in taken)], key=lambda hit: hit.first):
            for field, value in hit.says:
                self.said.setdefault(field, []).append((value, hit))

    def says(self, field: str) -> list[tuple[str, Hit]]:
        """The values that the caption states for a field."""
        return self.said.get(field, [])

    def vote(self, field: str, value: str, hits: Iterable[Hit], confidence: float) -> Vote:
        """A vote whose evidence is the words of the first hits, as they stand in the caption."""
        shown = dict.fromkeys(self.words.shown(hit.first, hit.last) for hit in hits)
        return Vote(field, value, VOTER, " ... ".join([*shown][:3]), confidence)

    @cached_property
    def studies(self) -> list[tuple[str, Hit]]:
        """The modalities that the caption names as its own."""
        return [(code, hit) for code, hit in self.says("modality") if self._is_own(hit, code)]

    def _is_own(self, hit: Hit, code: str = "") -> bool:
        if code in _AT_ONCE:
            return hit.first <= 2
        after = self.words.after(hit.last, 8)
        if after[:1] == ["finding"] or not text_terms.WANTED.isdisjoint(after):
            return False
        apart = after[:1] == ["evaluation"] or not text_terms.OTHER.isdisjoint(self.words.before(hit.first, 4))
        return not apart or not text_terms.SHOWS.isdisjoint(after)

    def modality(self) -> Iterator[Vote]:
        """The one that is named, by itself or by a sequence; else the one whose language the caption speaks."""
        codes = {code for code, _ in self.studies}
        if len(codes) == 1:
            named = [hit for _, hit in self.studies if not any(field == "sequence" for field, _ in hit.says)]
            hits = named or [hit for _, hit in self.studies]
            yield self.vote("modality", codes.pop(), hits[:1], NAMED if named else SEQUENCE)
        elif not self.says("modality"):
            implied = {code for code, _ in self.says("weak")}
            if len(implied) == 1:
                yield self.vote("modality", implied.pop(), [hit for _, hit in self.says("weak")], IMPLIED)

    def sub_labels(self, modality: str | None) -> Iterator[Vote]:
        """Sequence, contrast, technique and montage, each where one value is named."""
        for field in ("sequence", "contrast", "technique", "montage"):
            said = self.says(field)
            if field == "sequence":
                said = [(value, hit) for value, hit in said if modality == "MR" and self._names_sequence(hit)]
            if field == "contrast":
                said = [(value, hit) for value, hit in said if self._is_beside_study(hit)]
            values = {value for value, _ in said}
            if {"iv", "gi"} <= values <= {"iv", "gi", "gi+iv"}:
                values = {"gi+iv"}
            if len(values) == 1:
                yield self.vote(field, values.pop(), [hit for _, hit in said], NAMED)

    @cached_property
    def _named_at(self) -> frozenset[int]:
        """The places of the words that name the study or its plane."""
        return frozenset(at for _, hit in (*self.studies, *self.says("plane")) for at in range(hit.first, hit.last))

    def _is_beside_study(self, hit: Hit) -> bool:
        """Whether a phrase opens the caption or stands near the study's name, sequence or plane."""
        return hit.first < _NEAR or not self._named_at.isdisjoint(range(hit.first - _NEAR, hit.last + _NEAR))

    def _names_sequence(self, hit: Hit) -> bool:
        """Whether it is the image that is T1, and not a lesion that is bright on T1."""
        after = self.words.after(hit.last, 3)
        paired, after = after[:1] == ["and"], after[2:] if after[:1] == ["and"] else after[:1]
        if not self._is_own(hit) or not text_terms.FINDING.isdisjoint(after):
            return False
        bare = hit.last - hit.first == 1 and self.words.forms[hit.first] in _RELAXATIONS
        return not bare or paired or not text_terms.NAMING.isdisjoint([*self.words.before(hit.first, 1), *after])

    def plane(self, modality: str | None) -> Iterator[Vote]:
        """The one plane that is named, of one study; of "coronal reconstruction of the axial images", coronal."""
        if len({code for code, _ in self.studies}) > 1:
            return
        said = self.says("plane") + [(plane, hit) for plane, hit in self.says("view") if self._is_view(hit)]
        said = [(plane, hit) for plane, hit in said if not (plane in _PROJECTIONS and modality in _SECTIONAL)]
        said = [(plane, hit) for plane, hit in said if hit.first < 2 or not self._is_elsewhere(hit)]
        if len({plane for plane, _ in said}) == 2 and self._made_of(said[0][1]):
            said = said[:1]
        if len({plane for plane, _ in said}) == 1:
            yield self.vote("plane", said[0][0], [said[0][1]], NAMED)

    def _is_elsewhere(self, hit: Hit) -> bool:
        """Whether a plane is a measure's, another study's, or that of other images: "as seen on the axial images"."""
        if not self._is_own(hit) or not text_terms.MEASURES.isdisjoint(self.words.after(hit.last, _NEAR, _STOPS)):
            return True
        before = [word for word in self.words.before(hit.first, 3) if word != "the"]
        return before[:1] == ["on"] and len(before) > 1

    def _is_view(self, hit: Hit) -> bool:
        """Whether a word such as "lateral" is followed by one for a picture, but for a part of the body between."""
        after = self.words.after(hit.last, 5)
        for at, word in enumerate(after):
            if word in text_terms.VIEWS or after[at : at + 2] == ["x", "ray"]:
                return True
            if word not in text_terms.VIEWED:
                return False
        return False

    def _made_of(self, hit: Hit) -> bool:
        after = self.words.after(hit.last, 4)
        made = any(word.startswith(("reconstruct", "reformat")) for word in after)
        return made and not {"of", "from"}.isdisjoint(after)

    def region(self) -> Iterator[Vote]:
        """The part that the study is said to be of, else the one that most of the described structures lie in."""
        said = self.says("region")
        imaged = [(region, hit) for region, hit in said if self._is_of_study(hit)]
        for group, confidence in ((imaged, NAMED), (said, PART)):
            region = regions.one_of([region for region, _ in group])
            if region:
                yield self.vote("region", region, [hit for name, hit in group if name == region], confidence)
                return

    @cached_property
    def _study_at(self) -> frozenset[int]:
        """The places of the words that name the study."""
        return frozenset(at for _, hit in self.studies for at in range(hit.first, hit.last))

    def _is_of_study(self, part: Hit) -> bool:
        """Whether a study's name and a part of the body are one expression: "chest CT", "CT of the upper abdomen"."""
        if part.first in self._study_at or part.last in self._study_at:
            return True
        for at in range(part.first - 1, max(-1, part.first - _NEAR - 1), -1):
            if at in self._study_at or self.words.forms[at] not in text_terms.LINKS:
                return at in self._study_at
        return False

    def laterality(self) -> Iterator[Vote]:
        """The side of the described structures; both where both are."""
        said = [(side, hit) for side, hit in self.says("side") if not self._is_direction(hit)]
        sides = {side for side, _ in said}
        if sides:
            side = sides.pop() if len(sides) == 1 else "bilateral"
            yield self.vote("laterality", side, [hit for _, hit in said], SIDE)

    def _is_direction(self, hit: Hit) -> bool:
        """Whether a shift or an extension goes that way: "to the left.", but not "next to the left kidney"."""
        before = [word for word in self.words.before(hit.first, 2) if word != "the"]
        after = self.words.after(hit.last, 1)
        return before[:1] in (["to"], ["toward"]) and (not after or after[0] in ("of", "and", "with", "by"))


def _relaxations(words: Words) -> Iterator[Hit]:
    """T1, T2 and PD where they are sequences, and not vertebrae or a tumour's stage."""
    forms = words.forms
    for at, word in enumerate(() if _RELAXATIONS.isdisjoint(forms) else forms):
        if word not in _RELAXATIONS:
            continue
        near = {*forms[max(0, at - 2) : at], *forms[at + 1 : at + 3]}
        paired = {"t1", "t2"} <= {word, *near} and not text_terms.MR_WORDS.isdisjoint(forms[at + 3 : at + 5])
        if (paired or near & text_terms.MR_WORDS) and not near & text_terms.VERTEBRAL:
            yield Hit((("modality", "MR"), ("sequence", word.upper())), at, at + 1)


def _letters(words: Words) -> Iterator[Hit]:
    """The side of "R occipital", "L. MCA" and "(R) adrenal"; none of "L4", nor of a mark's key ("L - liver")."""
    for at, word in enumerate(() if _SIDES.keys().isdisjoint(words.written) else words.written):
        if word not in _SIDES:
            continue
        follows = at + 2 if words.written[at + 1 : at + 2] in (["."], [")"]) else at + 1
        if follows >= len(words.written) or words.forms[follows] in text_terms.KEYS:
            continue
        between, part = words.text[words.spans[at][1] : words.spans[follows][0]], words.written[follows]
        if between in (" ", ". ", ") ") and len(part) > 2 and (part.islower() or part.isupper()):
            yield Hit((("side", _SIDES[word]),), at, at + 1)


def _pairs(words: Words) -> Iterator[Hit]:
    """Both sides in "both kidneys"; no sides in "both axial and coronal"."""
    for at, word in enumerate(words.forms if "both" in words.forms else ()):
        if word == "both" and not text_terms.PAIRED.isdisjoint(words.after(at + 1, 2)):
            yield Hit((("side", "bilateral"),), at, at + 1)
