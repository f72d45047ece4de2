"""The command line: parse, call, print. What a command does is in the package that it calls."""

import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def hand_over() -> None:
    """Go on in the project's own .venv where this interpreter lacks what the project needs."""
    if all(importlib.util.find_spec(name) for name in ("click", "sqlmodel", "scrapy")):
        return
    python = HERE / ".venv" / "bin" / "python"
    if python.exists() and Path(sys.prefix).resolve() != (HERE / ".venv").resolve():
        os.execv(python, [str(python), str(HERE / "cli.py"), *sys.argv[1:]])
    sys.exit("run: make install")


if __name__ == "__main__":
    hand_over()

import json  # noqa: E402
from collections.abc import Callable, Iterable  # noqa: E402
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast  # noqa: E402

import click  # noqa: E402

from corpus_db import recent  # noqa: E402
from corpus_db.errors import UserError, told  # noqa: E402

if TYPE_CHECKING:
    from sqlalchemy import Engine
