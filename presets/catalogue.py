"""Models by name, or by path to a config.json."""

from functools import lru_cache
from pathlib import Path

from presets.errors import unknown_name
from presets.files import read_preset
from presets.folders import data_files
from presets.model import Model


@lru_cache
def model_names() -> tuple[str, ...]:
    """List the models that are known by name."""
    return tuple(data_files("models"))


def load_model(name_or_path: str | Path) -> Model:
    """Load a model.

    Parameters
    ----------
    name_or_path : str or Path
        One of `model_names`, or a path to a Hugging Face config.json or to the folder that holds
        it. A name is looked up first.

    Raises
    ------
    UnknownNameError
        Where it is neither a name nor looks like a path.
    DataFileError
        Where the file is malformed.

    Examples
    --------
    >>> load_model("deepseek-r1-0528").experts
    256
    """
    name = str(name_or_path)
    if name in model_names():
        return _preset(name)
    path = Path(name)
    if is_path(name):
        from presets.hf_config import read_hf_config  # a known name needs none

        return read_hf_config(path / "config.json" if path.is_dir() else path)
    raise unknown_name("model", name, [*model_names(), "path to a config.json"])


def is_path(name: str) -> bool:
    """Tell whether a model is named by a path, of a config.json or its folder."""
    return name not in model_names() and (
        name.endswith(".json") or "/" in name or "\\" in name or name in (".", "..")
    )


@lru_cache
def _preset(name: str) -> Model:
    return read_preset(data_files("models")[name], Model)
