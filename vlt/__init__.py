"""The vision-language Transformer. Reads a corpus version; knows nothing of crawling or SQL.

`vlt.load(run)` gives a trained model with `.embed`, `.answer` and `.caption`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlt.predict import Model


def load(run: Any, device: Any = None) -> "Model":
    """The model of a run, by its name, its folder or its file; see `vlt.predict`."""
    from vlt import predict

    return predict.load(run, device)
