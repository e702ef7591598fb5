"""Demand files: YAML that says what a fleet is to serve, and which machines it may take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from presets.errors import DataFileError, InputError, shown
from presets.facts import Text
from presets.files import explained
from presets.quantities import quantity, valid_quantity
from presets.scale_out import Amount, Gpus, Strict

MOST_TIERS = 50
"""Most tiers of a demand. [1]"""

MOST_SPARES = 100

MOST_RACKS = 131_072

MOST_RATE = 1e9
"""Largest rate, of requests or of tokens. [1/s]"""

TIER_UNITS = {
    "isl": "token",
    "osl": "token",
    "cached_share": "share",
    "target": "tok/s/user",
    "max_ttft": "s",
}
"""Unit of each key of a tier that is a quantity; `rate` has one of two."""

DEMAND_UNITS = {"budget": "USD/h", "max_power": "W"}
MACHINE_UNITS = {"gpus": "GPU", "price": "USD/h"}
UNITLESS = ("isl", "osl", "cached_share", "gpus")
"""Keys that need no unit written: a number of tokens or GPUs, and a share."""


class Rate(Strict):
    """A demand of requests, or of tokens, input and output together."""

    amount: Annotated[float, Field(gt=0, le=MOST_RATE)]
    unit: Literal["requests/s", "tokens/s"]


class TierDemand(Strict):
    """A class of traffic.

    Attributes
    ----------
    name : str
    model : str
        Preset, or path of a config.json.
    engine : str
    precision : str or None
        None takes the first that machine and model offer.
    isl, osl : int
        Nominal lengths. [token]
    cached_share : float
        Part of the input whose KV is reused. [1]
    target : float
        Interactivity that each user sees. [token/s/user]
    max_ttft : float or None
        Longest mean time to first token. [s]
    rate : Rate
        Demand.
    serving : {"disaggregated", "aggregated", "either"}
        Whether a pool of prefill workers feeds those that decode, or these prefill themselves.
    """

    name: Text
    model: Text
    engine: Text = "trtllm"
    precision: Text | None = None
    isl: Annotated[int, Field(ge=1, le=1_000_000)]
    osl: Annotated[int, Field(ge=2, le=1_000_000)]
    cached_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target: Amount
    max_ttft: Amount | None = None
    rate: Rate
    serving: Literal["disaggregated", "aggregated", "either"] = "disaggregated"


class MachineOffer(Strict):
    """A machine that may be taken.

    Attributes
    ----------
    sku : str
        Name of the machine.
    gpus : int or None
        How many there are; None is as many as it takes. [GPU]
    price : float or None
        Per GPU; None takes that of the machine. [USD/h]
    """

    sku: Text
    gpus: Gpus | None = None
    price: Amount | None = None


class Demand(Strict):
    """What a fleet is to serve.

    Attributes
    ----------
    tiers : tuple of TierDemand
    machines : tuple of MachineOffer
        Empty where the question names them.
    spares : int
        Workers of each pool that may fail while all is served. [1]
    budget, max_power : float or None
        Most that the GPUs that serve may cost [USD/h], and draw [W].
    max_racks : int or None
        Most NVLink domains that they may stand in. [1]
    """

    tiers: Annotated[tuple[TierDemand, ...], Field(min_length=1, max_length=MOST_TIERS)]
    machines: tuple[MachineOffer, ...] = ()
    spares: Annotated[int, Field(ge=0, le=MOST_SPARES)] = 0
    budget: Amount | None = None
    max_power: Amount | None = None
    max_racks: Annotated[int, Field(ge=1, le=MOST_RACKS)] | None = None


def read_demand(path: str | Path) -> Demand:
    """Read a demand file.

    Parameters
    ----------
    path : str or Path
        A YAML file of at most `presets.yaml_file.MAX_BYTES`, without aliases.

    Raises
    ------
    InputError
        Where anything is wrong: all faults, the others as notes.
    """
    # The YAML library is loaded for a file only.
    from presets.yaml_file import read_yaml

    path = Path(path)
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise DataFileError("must hold keys and values, such as 'tiers:'", path)
    return demand_of(content, path)


def demand_of(content: Mapping[str, Any], path: Path | str = "") -> Demand:
    """Check the content of a demand file; exceptions are those of `read_demand`."""
    faults: list[DataFileError] = []
    read = _quantities(dict(content), DEMAND_UNITS, path, "", faults)
    for key, reader in (("tiers", _tier), ("machines", _machine)):
        if isinstance(entries := content.get(key), (list, tuple)):
            read[key] = tuple(
                reader(each, path, f"{key}[{place}]", faults) if isinstance(each, dict) else each
                for place, each in enumerate(entries, 1)
            )
    known = {fault.key for fault in faults}
    try:
        demand = Demand.model_validate(read)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            key = _key(each["loc"])
            # Where an entry is at fault the list is short of it as well.
            if key not in known and not (each["type"] == "too_short" and each["input"]):
                faults.append(DataFileError(_explained(each), path, key=key))
    else:
        faults += _disagreements(demand, path)
    if faults:
        raise _together(faults, path)
    return demand


def _explained(error: ErrorDetails) -> str:
    """Say what is wrong with an entry as with a record of its own."""
    if error["type"] in ("too_short", "too_long"):
        return f"has {len(error['input'])} entries; give 1 to {MOST_TIERS}"
    records: dict[str, type[Strict]] = {"tiers": TierDemand, "machines": MachineOffer}
    inner = records.get(str(error["loc"][0]))
    if inner is None or len(error["loc"]) < 3:
        return explained(error, Demand)
    return explained({**error, "loc": error["loc"][2:]}, inner)


def _tier(content: dict[str, Any], path: Path | str, place: str, faults: list[Any]) -> Any:
    read = _quantities(content, TIER_UNITS, path, place, faults)
    if "rate" in content:
        try:
            read["rate"] = _rate(content["rate"])
        except ValueError as error:
            faults.append(DataFileError(str(error), path, key=f"{place}.rate"))
    return read


def _rate(value: Any) -> Rate:
    """Read a rate of requests, or of tokens."""
    examples = "such as 20 requests/s or 40000 tokens/s"
    if not (isinstance(value, str) and _has_unit(value)):
        raise ValueError(f"{shown(value)} has no unit; give a rate with it, {examples}")
    for unit in get_args(Rate.model_fields["unit"].annotation):
        try:
            found = quantity(value, unit)
        except ValueError:
            continue
        if isinstance(found, int | float) and 0 < found <= MOST_RATE:
            return Rate(amount=float(found), unit=unit)
    raise ValueError(f"{shown(value)} is not valid; give a rate above 0, {examples}")


def _machine(content: dict[str, Any], path: Path | str, place: str, faults: list[Any]) -> Any:
    return _quantities(content, MACHINE_UNITS, path, place, faults)


def _quantities(
    content: dict[str, Any],
    units: Mapping[str, str],
    path: Path | str,
    place: str,
    faults: list[Any],
) -> dict[str, Any]:
    """Read the quantities of an entry, each with its unit; those at fault are noted."""
    result = dict(content)
    for key in (key for key in units if content.get(key) is not None):
        value, unit = content[key], units[key]
        where = f"{place}.{key}" if place else key
        try:
            found = quantity(value, unit)
        except ValueError as error:
            problem = f"{error}; give a number with its unit, {valid_quantity(unit)}"
            faults.append(DataFileError(problem, path, key=where))
            continue
        if key not in UNITLESS and not (isinstance(value, str) and _has_unit(value)):
            given = value if isinstance(value, str) else shown(value)
            problem = f"{shown(value)} has no unit; write {given} {unit}"
            faults.append(DataFileError(problem, path, key=where))
            continue
        is_whole = key in ("isl", "osl", "gpus")
        result[key] = float(found) if isinstance(found, int) and not is_whole else found
    return result


def _has_unit(text: str) -> bool:
    return any(letter.isalpha() or letter in "%$" for letter in text)


def _disagreements(demand: Demand, path: Path | str) -> list[DataFileError]:
    """Say what entries do not agree on."""
    faults = []
    for what, names in (
        ("tiers", [tier.name for tier in demand.tiers]),
        ("machines", [machine.sku for machine in demand.machines]),
    ):
        for name, count in Counter(names).items():
            if count > 1:
                problem = f"{shown(name)} stands {count} times; give each its own name, once"
                faults.append(DataFileError(problem, path, key=what))
    return faults


def _key(place: tuple[int | str, ...]) -> str:
    """Write where something stands, entries counted from 1.

    >>> _key(("tiers", 0, "isl"))
    'tiers[1].isl'
    """
    text = ""
    for part in place:
        text += f"[{part + 1}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text


def _together(faults: list[DataFileError], path: Path | str) -> InputError:
    """Make one error of all faults: the only one, or how many there are with each as a note."""
    if len(faults) == 1:
        return faults[0]
    error = InputError(f"{path}: {len(faults)} faults")
    for fault in faults:
        error.add_note(str(fault))
    return error
