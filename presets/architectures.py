"""How each `model_type` writes its architecture down: records of ``data/architectures.toml``."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import Field

from presets.files import read_preset
from presets.folders import DATA
from presets.record import Record

Quantity = bool | int | str
"""A number, or text that says which keys hold it, such as ``"a|b*c?0"``."""

Fields = dict[str, Any]
"""Quantity of each field of a record of `presets.model`; records in it are tables."""


class LayerRule(Record):
    """Which part, by its name, each layer has.

    Attributes
    ----------
    key : str or None
        List, or text of one letter a layer; None where all layers are as `usual`.
    of : dict
        Part of each entry of that list; empty where it holds the indices of the layers that have
        the first of `usual`.
    base : int
        Index of the first layer, in a list of indices. [1]
    interval : Quantity
        Where the key is missing, every so many layers one has the last of `usual`. [1]
    usual : tuple of str
        One part, or that of most layers and the other.
    """

    key: str | None = None
    of: dict[str, str] = Field(default_factory=dict)
    base: int = 0
    interval: Quantity = 1
    usual: tuple[str, ...] = ()


class DenseRule(Record):
    """Which layers have no experts, and how wide those are.

    Attributes
    ----------
    first : Quantity
        So many first ones. [1]
    listed : str or None
        Key of a list that has 0 for each such layer.
    step : Quantity
        All but every so many-th. [1]
    indices : str or None
        Key of a list of their indices.
    intermediate : Quantity or None
        Their width; None takes that of the kind. [1]
    matrices : int
        Of their feed-forward. [1]
    """

    first: Quantity = 0
    listed: str | None = None
    step: Quantity = 1
    indices: str | None = None
    intermediate: Quantity | None = None
    matrices: int = 3


class DraftRule(Record):
    """How many draft layers there are, and the attention, by name, of each."""

    count: Quantity
    attention: str


class Architecture(Record):
    """How the config.json files of some `model_type` are read.

    Attributes
    ----------
    model_types : tuple of str
        Whose.
    attention : dict of Fields
        Each attention by its name, with its ``kind``.
    layers : LayerRule
        Which layer has which.
    dense : DenseRule
        Which layers have no experts.
    moe : Fields
        The experts.
    draft : DraftRule or None
        None where checkpoints have no draft layers.
    only : dict
        Keys whose other values are not modelled.
    modules : dict
        Modules that stand for each part of the model: of an attention the first and the last.
    """

    model_types: tuple[str, ...]
    attention: dict[str, Fields]
    layers: LayerRule = LayerRule(usual=("full",))
    dense: DenseRule = DenseRule()
    moe: Fields
    draft: DraftRule | None = None
    only: dict[str, bool | int] = Field(default_factory=dict)
    modules: dict[str, str | tuple[str, str]] = Field(default_factory=dict)


class Architectures(Record):
    """All architectures that are read, and what their kinds have in common."""

    kinds: dict[str, Fields]
    architectures: dict[str, Architecture]

    def by_model_type(self) -> dict[str, Architecture]:
        """Architecture of each `model_type`."""
        return {name: each for each in self.architectures.values() for name in each.model_types}

    def modules_of(self, architecture: Architecture) -> Fields:
        """Modules of an architecture by part of the model, and by kind of attention."""
        return {**self.kinds["modules"], **architecture.modules}


@lru_cache
def load_architectures() -> Architectures:
    """Load the architectures that are read."""
    return read_preset(DATA / "architectures.toml", Architectures)
