"""Reading a configuration from a file, or an answer with all that was asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from costmodel.results import Configuration
from moeplan.json_text import parse_json
from moeplan.options import DEFAULTS, Options, entries, read_options
from moeplan.question import SHIPPED, without_set_prices
from presets import ClusterPools, ClusterSpec, DataFileError, Hardware, InputError
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


class Stored(NamedTuple):
    """A configuration from a file, and what was asked where the file is an answer.

    Attributes
    ----------
    configuration : Configuration
    sku : str or None
        Machine of an answer.
    options : mapping
        Of an answer, by name; what it does not say is left out.
    """

    configuration: Configuration
    sku: str | None
    options: Mapping[str, Any]


def read_stored(path: Path) -> Stored:
    """Read a configuration from JSON or YAML, or an answer with all that was asked.

    Parameters
    ----------
    path : Path
        A configuration object, an answer that holds one under "config", or a recipe of srt-slurm.

    Raises
    ------
    DataFileError
        Where the file is malformed, a key is missing, unknown or out of range, or an answer says
        one thing in two ways.
    """
    content = _content(path)
    if not isinstance(content, dict):
        keys = ", ".join(Configuration.model_fields)
        raise DataFileError(
            f"must hold a configuration as JSON or YAML, with the keys {keys}", path
        )
    if "config" not in content:
        return Stored(_configuration(content, path), None, {})
    config = content["config"]
    if not isinstance(config, dict):
        what = "is null: the answer found no configuration" if config is None else "is none"
        problem = f"{what}; give the JSON of an answer that found one"
        raise DataFileError(problem, path, key="config")
    sku, options = _asked(content, path)
    return Stored(_configuration(config, path), sku, options)


def _configuration(content: dict[str, Any], path: Path) -> Configuration:
    return validated(Configuration, read_quantities(content, UNITS, path), path)


def _asked(answer: dict[str, Any], path: Path) -> tuple[str | None, dict[str, Any]]:
    """Machine and options of an answer; an older one has no question, but says most elsewhere."""
    scenario, question = (
        part if isinstance(part := answer.get(key), dict) else {}
        for key in ("scenario", "question")
    )
    names = {option.key: name for name, option, _ in entries()}
    elsewhere = {"sku": answer.get("sku")} | scenario
    for key, value in elsewhere.items():
        known = question.get(key)
        # The question names a model as it was given, which may be a path.
        if key != "model" and known is not None and value is not None and known != value:
            raise DataFileError(
                f"{shown(value)} contradicts {shown(known)} under question; make them alike",
                path,
                key=key if key == "sku" else f"scenario.{key}",
            )
    said = {key: value for key, value in question.items() if value is not None}
    every = without_set_prices(elsewhere | said)
    sku = every.get("sku")
    if sku is not None and not isinstance(sku, str):
        raise DataFileError(f"{shown(sku)} is not valid; it must be text", path, key="sku")
    options: dict[str, Any] = {}
    for key, value in every.items():
        if key not in names or value is None or value == SHIPPED:
            continue
        name = names[key]
        try:
            options[name] = getattr(read_options({name: value}), name)
        except InputError as error:
            raise DataFileError(str(error), path) from None
    return sku, options


def merged(
    stored: Stored, sku: str | None, typed: Options, names: Iterable[str]
) -> tuple[str | None, Options, list[str]]:
    """Put options that were typed over those of a file.

    Parameters
    ----------
    stored : Stored
        From the file.
    sku : str or None
        Machine that was typed.
    typed : Options
        Those that were typed; the others are defaults.
    names : iterable of str
        Which of them were typed.

    Returns
    -------
    sku : str or None
    options : Options
    notes : list of str
        One sentence for each that contradicts the file.
    """
    given = {name: getattr(typed, name) for name in names}
    if given.keys() & {"pool", "prefill_pool"} and "cluster" in stored.options:
        given.setdefault("cluster", stored.options["cluster"])
    machine = _machine_of(given, sku, stored.sku)
    there = given.get("prefill_sku", stored.options.get("prefill_sku"))
    changed = given.keys() & {"machine", "cluster"} or machine != stored.sku
    # A price is that of its machine, and another cluster has its own.
    own = {"machine", "cluster", "pool", "prefill_pool", "price"}
    dropped: set[str] = own if changed else set()
    pools = {"prefill_pool"} & (given.keys() | (stored.options.keys() & dropped))
    if there != stored.options.get("prefill_sku") or pools:
        dropped.add("prefill_price")
    if "prices" in given:
        dropped |= {"price", "prefill_price"} - given.keys()
    if there == machine:
        dropped |= {"prefill_sku", "prefill_price"}
    kept = {name: value for name, value in stored.options.items() if name not in dropped}
    said = {"sku": stored.sku, **stored.options}
    notes = [
        f"{name} {_brief(value)} was given and wins over {_brief(said[name])} of the file"
        for name, value in ({"sku": machine} | given).items()
        if said.get(name) not in (None, value)
    ]
    if "prices" in given:
        notes += [
            f"prices {given['prices']} was given and wins over {name} {said[name]} of the file"
            for name in ("price", "prefill_price")
            if name in said and name not in given
        ]
    return machine if sku is None else sku, replace(DEFAULTS, **kept | given), notes


def _machine_of(given: Mapping[str, Any], sku: str | None, stored: str | None) -> str | None:
    """Name the machine of what was typed, else that of the file."""
    cluster, own = given.get("cluster"), given.get("machine")
    if isinstance(cluster, ClusterPools):
        pool = given.get("pool")
        if (sku, pool) == (None, None) and any(x.sku == stored for x in cluster.pools.values()):
            sku = stored
        return cluster.pools[cluster.chosen(pool, sku)].sku
    return cluster.sku if cluster else own.name if own else sku or stored


def _brief(value: object) -> str:
    if isinstance(value, Hardware):
        return value.name
    if isinstance(value, ClusterPools):
        return " and ".join(value.pools)
    return f"{value.gpus} x {value.sku}" if isinstance(value, ClusterSpec) else str(value)


def _content(path: Path) -> object:
    """Content of the file; a recipe of srt-slurm becomes the answer that it deploys."""
    content = _parsed(path)
    if isinstance(content, dict) and "resources" in content:
        from moeplan.recipes.slurm.reading import answer_of, is_job  # few files are recipes

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
