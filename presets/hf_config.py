"""A model from the config.json that Hugging Face keeps beside its weights."""

import json
from datetime import date
from pathlib import Path
from typing import Any

from presets.architectures import Architecture, Architectures, Fields, load_architectures
from presets.checkpoint import read_checkpoint
from presets.errors import DataFileError, escaped, shown
from presets.facts import Provenance
from presets.files import read_text, validated
from presets.hf_keys import Keys
from presets.hf_layers import Layers
from presets.model import Model

MAX_BYTES = 20_000_000
"""Longest config.json that is read. [B]"""

QUANTISATION_FILE = "hf_quant_config.json"
"""What says the precisions of a checkpoint, beside a config.json that does not."""


def read_hf_config(path: Path) -> Model:
    """Read a Hugging Face config.json, and how its checkpoint is quantised.

    That stands in the file, or in ``hf_quant_config.json`` beside it. Precisions that the
    checkpoint does not have are those of common checkpoints, of kind "assumed".

    Parameters
    ----------
    path : Path
        The file, of at most `MAX_BYTES`.

    Raises
    ------
    DataFileError
        Where the file is no such file, or a key is missing or bad; the text names the key.
    """
    content = read_json(path)
    known = load_architectures()
    architecture = _architecture(content, known, path)
    keys = Keys(content, path)
    for key, valid in architecture.only.items():
        keys.must_be(key, valid)
    layers = Layers(keys, known, architecture)
    # A folder may be called anything, and its name is printed.
    name = escaped(keys.text("_name_or_path", path.parent.name or path.stem))
    fields: Fields = {
        "name": name,
        "title": name,
        "hf_id": name,
        "provenance": Provenance(source=escaped(str(path)), date=date.today(), kind="datasheet"),
        "hidden": keys.count("hidden_size"),
        "vocab": keys.count("vocab_size"),
        "groups": layers.groups(),
        "draft": layers.draft(),
        "tied_embeddings": keys.flag("tie_word_embeddings", default=False),
        "precisions": {},
    }
    model = validated(Model, fields, path)
    beside = path.parent / QUANTISATION_FILE
    other = read_json(beside) if beside.is_file() else None
    checkpoint = read_checkpoint(content, other, layers.modules(model), path)
    return model.model_copy(
        update={"precisions": checkpoint.precisions, "checkpoint": checkpoint.name}
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object; Infinity is a number, as transformers writes it.

    Raises
    ------
    DataFileError
        Where the file cannot be read, is longer than `MAX_BYTES`, or is no such JSON.
    """
    try:
        content = json.loads(read_text(path, MAX_BYTES), parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise DataFileError(f"is not JSON: {error.msg}", path, line=error.lineno) from None
    except DataFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataFileError(f"is not JSON: {error}", path) from None
    if not isinstance(content, dict):
        raise DataFileError("must hold one JSON object", path)
    return content


def _constant(name: str) -> float:
    if name == "NaN":
        raise ValueError(f"{name} is not a JSON number")
    return float(name)


def _architecture(content: dict[str, Any], known: Architectures, path: Path) -> Architecture:
    """Find how to read a file, by its `model_type` or that of its language model."""
    by_type, inner = known.by_model_type(), content.get("text_config")
    tables = [content, inner] if isinstance(inner, dict) else [content]
    for table in tables:
        family = table.get("model_type")
        if isinstance(family, str) and family in by_type:
            return by_type[family]
    family = content.get("model_type")
    state = f"is {shown(family)}, which is not modelled" if family is not None else "is missing"
    # No closest name: another architecture would be read, and give other numbers.
    raise DataFileError(f"{state}; valid: {', '.join(sorted(by_type))}", path, key="model_type")
