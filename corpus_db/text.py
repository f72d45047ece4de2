"""Text that both engines can hold: NUL and lone surrogates are written as their JSON escapes."""

import re

# PostgreSQL refuses NUL in text and in jsonb, SQLite's functions stop at it; a lone surrogate has no UTF-8 form at all.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    r"""`text` with each NUL and lone surrogate replaced by six visible characters, as in ``\u0000``; the rest as is."""
    return UNSTORABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) if UNSTORABLE.search(text) else text


def storable_json(value: object) -> object:
    """The same for every string, keys included, of a parsed JSON value."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [storable_json(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): storable_json(item) for key, item in value.items()}
    return value
