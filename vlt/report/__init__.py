"""Pages about runs and studies: what their folders hold, read and laid out. Nothing is measured anew for a page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write(
    output: Path, run: str | None, study: str | None, public: bool = False, db: str | None = None
) -> dict[str, Any]:
    """Write the page about a run, or about a study where no run is named; {"path": ..., "bytes": ...}.

    `public` leaves predictions out, which hold the corpus's texts and images. `db`: where the images of a run's
    questions lie, if not where they lay when it was made. UserError where there is no such run or study.
    """
    from corpus_db.read import render_page, write_page

    if run is not None:
        from vlt.report import run as run_page

        page = render_page("run.html", "vlt", **run_page.gathered(run, public, db))
    else:
        from vlt.report import study as study_page

        page = render_page("study.html", "vlt", **study_page.gathered(study or ""))
    return {"path": str(output), "bytes": write_page(output, page)}


def render(wrote: dict[str, Any]) -> Iterator[str]:
    """One line for people, with the place of the page last."""
    yield f"{wrote['bytes'] / 1e6:.1f} MB: {wrote['path']}"
