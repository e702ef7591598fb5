"""Machine files: TOML that describes a `Hardware` of one's own, and how one is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from presets.engines import load_engine
from presets.errors import DataFileError, InputError, UnknownNameError, closest_hint, shown
from presets.files import MAX_PRESET, explained, flattened, read_toml, toml_value
from presets.folders import engine_names
from presets.hardware import Hardware, hardware_names, load_hardware
from presets.machine_facts import EXAMPLES, UNITS

HEADER = """# A machine, for --machine FILE. Rates of links are one-direction, per GPU.
# A fact may also be text with its unit: hbm_bytes = "180 GB" under [facts].
"""

LIKE = "like"
"""Key that names the machine whose facts hold where the file says nothing."""

MONEY_AND_POWER = ("price_usd_per_hour", "power_watts")
"""Facts that enter no prediction of times: a known machine may have others."""


def load_machine(path: str | Path) -> Hardware:
    """Read a machine file.

    Parameters
    ----------
    path : str or Path
        A TOML file in the form of a preset, of at most `files.MAX_PRESET`.

    Raises
    ------
    InputError
        Naming what is malformed, unknown, missing or out of range; where that is more than one
        thing, its notes are a sentence for each.
    """
    path = Path(path)
    return machine_of(read_toml(path, MAX_PRESET), path)


def machine_of(content: Mapping[str, Any], path: Path | str = "", key: str = "") -> Hardware:
    """Make a machine of the content of a file; `key` is where in the file it stands.

    Raises
    ------
    InputError
        As `load_machine`.
    """
    faults: list[DataFileError] = []
    machine = read_machine(content, faults, path, key)
    if machine is not None and not faults:
        return machine
    if len(faults) == 1:
        raise faults[0]
    error = InputError(f"{path}: {len(faults)} faults in the machine")
    for fault in faults:
        error.add_note(str(fault))
    raise error


def read_machine(
    content: Mapping[str, Any], faults: list[DataFileError], path: Path | str = "", key: str = ""
) -> Hardware | None:
    """Make a machine, None where that cannot be; all that is wrong is added to `faults`."""

    def note(problem: str, *place: str | int) -> None:
        where = ".".join(str(part) for part in (key, *place) if part != "")
        faults.append(DataFileError(problem, path, key=where or None))

    given = flattened(content, "facts")
    try:
        known = _of_another(given.pop(LIKE, None))
    except UnknownNameError as error:
        note(str(error), LIKE)
        known = dict(load_hardware(hardware_names()[0]))  # so that this fault hides no other
    profile = given.get("kernel_profile")
    if isinstance(profile, str) and profile not in _profiles():
        hint = closest_hint(profile, _profiles())
        note(f"{shown(profile)} is none that an engine has kernels for; {hint}", "kernel_profile")
    try:
        title = {"title": given["name"]} if "name" in given else {}
        machine = Hardware.model_validate({**title, **known, **given})
    except ValidationError as error:
        for each in error.errors(include_url=False):
            where = (part for part in each["loc"] if part != "[key]")
            note(_explained(each, each["loc"]), *where)
        return None
    for place, problem in _disagreements(machine):
        note(problem, place)
    return machine


def machine_text(machine: Hardware) -> str:
    """Write a machine as a file that `load_machine` reads back as it is.

    >>> import tomllib
    >>> text = machine_text(load_hardware("b200"))
    >>> machine_of(tomllib.loads(text)) == load_hardware("b200")
    True
    """
    content = machine.model_dump()
    flops, nic = content.pop("flops"), content.pop("nic")
    facts = {name: each for name, each in content.items() if isinstance(each, dict)}
    plain = {name: content[name] for name in content if name not in facts}
    blocks = [HEADER + _lines({**plain, "nic": nic["name"]})]
    for name, fact in {**facts, **{f"flops.{key}": each for key, each in flops.items()}}.items():
        others = fact.pop("alternatives")
        blocks.append(f"[facts.{name}]\n{_lines(fact)}")
        blocks += [f"[[facts.{name}.alternatives]]\n{_lines(other)}" for other in others]
    return "\n".join(blocks)


def _lines(values: Mapping[str, Any]) -> str:
    return "".join(f"{name} = {toml_value(value)}\n" for name, value in values.items())


def _of_another(name: object) -> dict[str, Any]:
    """Facts of the machine that this one is like, by field; none where none is named."""
    if name is None:
        return {}
    known = dict(load_hardware(str(name)))
    return {field: value for field, value in known.items() if field not in ("name", "title")}


def _explained(error: Any, place: tuple[int | str, ...]) -> str:
    """Say what is wrong, and of a fact that is missing how one is written."""
    name = str(place[0]) if place else ""
    if error["type"] == "missing" and len(place) == 1 and name in UNITS:
        return f"is missing; give such as {EXAMPLES[UNITS[name]]}, or {LIKE} = 'b200'"
    return explained(error, Hardware)


def _profiles() -> set[str]:
    """Kernel profiles that some engine has kernels for."""
    return {each for name in engine_names() for each in load_engine(name).runs_on.kernel_profiles}


def _disagreements(machine: Hardware) -> list[tuple[str, str]]:
    """Say, by key, what a machine that is well-formed does not agree with."""
    found = []
    near, far = machine.scale_up_latency.value, machine.scale_out_latency.value
    if near >= far:
        problem = f"{near:g} s is not valid; it must be below scale_out_latency, {far:g} s"
        found.append(("scale_up_latency", problem))
    if other := _differs_from_preset(machine):
        problem = f"{machine.name!r} is a known machine with another {other}; choose another name"
        found.append(("name", problem))
    return found


def _differs_from_preset(machine: Hardware) -> str:
    """Name the first fact that the known machine of the same name has otherwise; blank for none."""
    if machine.name not in hardware_names():
        return ""
    preset = load_hardware(machine.name)
    for name in ("kernel_profile", "scale_up", "attention_format", "nic"):
        if getattr(machine, name) != getattr(preset, name):
            return name
    for name in dict.fromkeys((*preset.facts, *machine.facts)):
        values = [
            each.facts[name].value if name in each.facts else None for each in (machine, preset)
        ]
        if values[0] != values[1] and name not in MONEY_AND_POWER:
            return name
    return ""
