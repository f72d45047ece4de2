"""What a model is trained for: pre-training, and the tasks that it is fine-tuned and evaluated on."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlt import runs
    from vlt.tasks.base import Task


def of(run: "runs.Run", db: str | None = None) -> "Task":
    """A run's task, its data read again; `db` where they lie elsewhere now. UserError where they are gone."""
    from corpus_db.read import version
    from vlt import runs
    from vlt.tasks import questions, vqa
    from vlt.tasks.base import OnCorpora
    from vlt.tasks.pretraining import Pretraining
    from vlt.tasks.tuning import Reporting, Retrieving

    if run.config.task == "vqa":
        return vqa.Answering(questions.again(run.corpora[0], db), run.answers)
    corpora = [runs.Corpus(version(told["version"], db or told["database"]), told["weight"]) for told in run.corpora]
    kinds: dict[str, type[OnCorpora]] = {"pretrain": Pretraining, "retrieval": Retrieving, "report": Reporting}
    return kinds[run.config.task](corpora)
