"""Render a template as one self-contained HTML page, and write such a page whole or not at all."""

import functools
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus_db.errors import UserError
from corpus_db.files import written

if TYPE_CHECKING:
    from jinja2 import Environment

# what HTML forbids, what UTF-8 cannot hold, what reverses the text that follows; joiners and marks of direction stay
_HARMFUL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def render(template: str, package: str, **values: Any) -> str:
    """`<package>/pages/<template>` as HTML, every value escaped; a value that the template lacks is an error.

    A template may extend base.html and import macros.html, which lie in corpus_db/pages, and quote a word of a command
    with the filter `quoted`. Characters that would break a page (controls, lone surrogates, overrides of direction)
    become visible escapes.
    """
    return str(_templates(package).get_template(template).render(**values))


@functools.cache  # `browse` renders a page a request
def _templates(package: str) -> "Environment":
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    pages = ChoiceLoader([PackageLoader(package, "pages"), PackageLoader("corpus_db", "pages")])
    environment = Environment(
        loader=pages,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["quoted"] = shlex.quote
    return environment


def _harmless(value: Any) -> Any:
    from markupsafe import Markup

    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", value)


def check_target(path: str | os.PathLike[str]) -> None:
    """UserError where a page cannot be written to a file, so that it is told before the page is made."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise UserError(f"{path}: {'a folder' if target.is_dir() else 'no file'}; give the page a file name")
    if not target.parent.is_dir():
        raise UserError(f"{path}: there is no folder {target.parent}; make it, or give another place with -o")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise UserError(f"{path}: {target.parent} cannot be written; give another place with -o")


def write(path: str | os.PathLike[str], page: str) -> int:
    """Write a page to a file, whole or not at all; its size in bytes. Raises UserError naming the file."""
    body = page.encode("utf-8")
    try:
        check_target(path)
        with written(Path(os.path.realpath(path))) as file:
            file.write(body)
    except OSError as error:
        raise UserError(f"{path}: cannot write it ({error.strerror}); give another place with -o") from error
    return len(body)
