"""Reading one configuration from a file."""

from __future__ import annotations

from pathlib import Path

from costmodel.results import Configuration
from moeplan.json_text import parse_json
from presets import DataFileError, InputError
from presets.errors import shown
from presets.files import read_text, validated
from presets.quantities import read_quantities
from presets.yaml_file import read_yaml

MAX_BYTES = 1_000_000
"""Longest file that is read. [B]"""


UNITS = {
    "prefill_workers": "worker",
    "prefill_gpus_per_worker": "GPU",
    "decode_workers": "worker",
    "decode_gpus_per_worker": "GPU",
    "decode_ep": "GPU",
    "max_batch": "request",
    "mtp_depth": "token",
    "eplb_slots": "slot",
    "concurrency": "user",
    "frontends": "frontend",
}
"""Unit of each key that is a quantity."""


def read_configuration(path: Path) -> Configuration:
    """Read a configuration from JSON or YAML.

    Parameters
    ----------
    path : Path
        A configuration object, an answer that holds one under "config", or a recipe of srt-slurm.

    Raises
    ------
    DataFileError
        Where the file is malformed, or a key is missing, unknown or out of range.
    """
    content = _content(path)
    if isinstance(content, dict) and "config" in content:
        content = content["config"]
        if content is None:
            raise DataFileError("is null: the answer found no configuration", path, key="config")
    if not isinstance(content, dict):
        keys = ", ".join(Configuration.model_fields)
        raise DataFileError(f"must hold a configuration with the keys {keys}", path)
    content = read_quantities(content, UNITS, path)
    return validated(Configuration, content, path)


def read_question(path: Path) -> dict[str, str]:
    """Read machine and workload that an answer names, as text; nothing where it names none.

    Parameters
    ----------
    path : Path
        As for `read_configuration`.

    Raises
    ------
    DataFileError
        Where the file is malformed, or a value is neither text nor a number.
    """
    content = _content(path)
    if not isinstance(content, dict):
        return {}
    scenario = content.get("scenario")
    named = {"sku": content.get("sku")} | (scenario if isinstance(scenario, dict) else {})
    question = {}
    for key in ("sku", "model", "precision", "isl", "osl"):
        value = named.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise DataFileError(f"{shown(value)} is not valid; it must be text", path, key=key)
        question[key] = str(value)
    return question


def _content(path: Path) -> object:
    """Content of the file; a recipe of srt-slurm becomes the answer that it deploys."""
    content = _parsed(path)
    # Recipes take 0.3 s to import, and few files are one.
    if isinstance(content, dict) and "resources" in content:
        from moeplan.recipes.slurm.reading import answer_of, is_job

        if is_job(content):
            try:
                return answer_of(path.read_text(encoding="utf-8"))
            except InputError as error:
                raise DataFileError(str(error).removeprefix("recipe.yaml: "), path) from None
    return content


def _parsed(path: Path) -> object:
    text = read_text(path, MAX_BYTES)
    if not text.lstrip().startswith("{"):
        return read_yaml(path)
    try:
        return parse_json(text, path)
    except DataFileError:
        if path.suffix in (".yaml", ".yml"):  # a flow mapping of YAML also begins with a brace
            return read_yaml(path)
        raise
