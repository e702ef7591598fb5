"""Where presets stand: the shipped data, and a folder of the user's own."""

import os
from pathlib import Path

DATA = Path(__file__).parent / "data"

VARIABLE = "MOEPLAN_PRESETS"
"""Environment variable that names a folder with presets of one's own, laid out as `DATA`."""


def data_files(kind: str) -> dict[str, Path]:
    """Files of one kind of preset by name, sorted; a shipped one is never replaced.

    Parameters
    ----------
    kind : str
        Folder of the data, such as "hardware".
    """
    own = os.environ.get(VARIABLE)
    folders = [*([Path(own)] if own else []), DATA]
    found = {path.stem: path for folder in folders for path in (folder / kind).glob("*.toml")}
    return dict(sorted(found.items()))


def engine_names() -> tuple[str, ...]:
    """List the engines that are known.

    >>> engine_names()
    ('atom', 'sglang', 'trtllm', 'vllm')
    """
    return tuple(data_files("engines"))
