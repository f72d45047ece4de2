"""Show how two texts differ, word by word, for people: what went, what came, and little of what stayed."""

import re
from difflib import SequenceMatcher

from corpus_db.report.ask import cut

Part = tuple[str, str]  # "same", "gone" or "new", and the text
_TOKEN = re.compile(r"\s{1,80}|\w{1,80}|[^\w\s]")  # no token is so long that it could not be left out
_AROUND = 24  # tokens of what stayed that are shown on each side of a change
_TOKENS = 1500  # of a text, beyond which only its beginning is compared
_LONGEST = 400  # characters of a part
_MARKS = {"\n": "⏎", "\t": "⇥", "\r": "", " ": "␣"}  # white space that went or came, made visible


def changes(before: str, after: str) -> list[Part]:
    """The parts of both texts in order; white space that differs is shown by marks."""
    one, other = _TOKEN.findall(before), _TOKEN.findall(after)
    rest = len(one) > _TOKENS or len(other) > _TOKENS
    one, other = one[:_TOKENS], other[:_TOKENS]
    parts: list[Part] = []
    steps = SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    for at, (kind, i, j, k, m) in enumerate(steps):
        if kind == "equal":
            parts.append(("same", _short(one[i:j], at == 0, at == len(steps) - 1)))
            continue
        gone, new = "".join(one[i:j]), "".join(other[k:m])
        parts += [(name, cut(_marked(text), _LONGEST)) for name, text in (("gone", gone), ("new", new)) if text]
    return [*parts, ("same", " … (a long text: only its beginning is compared)")] if rest else parts


def _short(tokens: list[str], first: bool, last: bool) -> str:
    head = [] if first else tokens[:_AROUND]
    tail = [] if last else tokens[-_AROUND:]
    if len(tokens) <= len(head) + len(tail) + _AROUND or (first and last):
        return "".join(tokens)
    return "".join([*head, " … ", *tail])


def _marked(text: str) -> str:
    """White space alone, or several of it, by marks: else a change of it could not be seen."""
    if text.strip() and not re.search(r"\s{2,}|[\n\t]", text):
        return text
    return re.sub(r"\s{2,}|[\n\t]|^ $", lambda found: "".join(_MARKS.get(each, "␣") for each in found[0]), text)
