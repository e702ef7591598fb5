"""Cluster files: YAML that describes a `ClusterSpec`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from presets.cluster import OVERRIDES, UNITS, ClusterSpec
from presets.errors import DataFileError, InputError, closest_hint, shown
from presets.files import explained, validated
from presets.hardware import hardware_names, load_hardware
from presets.machine_file import load_machine, machine_of
from presets.quantities import note_unusual, read_quantities
from presets.scale_out import SCALE_OUT_UNITS

_COUNTS = ("gpus_per_domain", "gpus_per_node")


def load_cluster(path: str | Path) -> ClusterSpec:
    """Read a cluster file.

    Parameters
    ----------
    path : str or Path
        A YAML file of at most `presets.yaml_file.MAX_BYTES`, without aliases.

    Raises
    ------
    InputError
        Where the file is malformed, or a key is unknown, missing or out of range: the first fault.
    """
    if not isinstance(path, str | Path):
        raise InputError(f"path: {shown(path)} is not valid; give the path of a file")
    path = Path(path)
    content = _content(path)
    _check_sku(content, path)
    content = _with_machine(content, path)
    content = read_quantities(content, UNITS, path)
    if isinstance(fabric := content.get("scale_out"), dict):
        content["scale_out"] = read_quantities(fabric, SCALE_OUT_UNITS, path, "scale_out")
    spec = validated(ClusterSpec, content, path)
    for key, (fact, factor) in OVERRIDES.items():
        if getattr(spec, key) is not None and fact not in _COUNTS:
            sold = [load_hardware(name).facts[fact] for name in hardware_names()]
            known = [each.value for each in sold if each.kind != "assumed"]
            known = known or [each.value for each in sold]
            usual = min(known) / factor, max(known) / factor
            note_unusual(f"{path}, key {key}", getattr(spec, key), UNITS[key], usual)
    return spec


def cluster_faults(path: str | Path) -> list[str]:
    """Find all that is wrong in a cluster file, a sentence each; none in one that can be read.

    What cannot be understood, as a machine of another name, hides no other fault.
    """
    path = Path(path)
    faults: list[str] = []
    try:
        content = _content(path)
    except DataFileError as error:
        return [str(error)]
    try:
        _check_sku(content, path)
    except DataFileError as error:
        faults.append(str(error))
        content["sku"] = hardware_names()[0]
    try:
        content = _with_machine(content, path)
    except InputError as error:
        faults += getattr(error, "__notes__", [str(error)])
        content = {**content, "machine": load_hardware(hardware_names()[0])}
        content.pop("sku", None)
    content = _quantities(content, UNITS, path, "", faults)
    if isinstance(fabric := content.get("scale_out"), dict):
        content["scale_out"] = _quantities(fabric, SCALE_OUT_UNITS, path, "scale_out", faults)
    disagreements: list[str] = []
    try:
        ClusterSpec.model_validate(content, context=disagreements)
    except ValidationError as error:
        found = error.errors(include_url=False)
        for each in found:
            key = ".".join(map(str, each["loc"])) or None
            faults.append(str(DataFileError(explained(each, ClusterSpec), path, key=key)))
        # Keys that disagree show once those at fault are left out.
        wrong = {each["loc"][0] for each in found if each["loc"]}
        rest = {key: value for key, value in content.items() if key not in wrong}
        with suppress(ValidationError):
            ClusterSpec.model_validate(rest, context=disagreements)
    return faults + [str(DataFileError(each, path)) for each in disagreements]


def _content(path: Path) -> dict[str, Any]:
    # Most questions name a machine: the YAML library is loaded for a file only.
    from presets.yaml_file import read_yaml

    content = read_yaml(path)
    if not isinstance(content, dict):
        raise DataFileError("must hold keys and values, such as 'sku: b200'", path)
    return content


def _check_sku(content: dict[str, Any], path: Path) -> None:
    sku = content.get("sku")
    if isinstance(sku, str) and sku not in hardware_names():
        hint = closest_hint(sku, hardware_names())
        raise DataFileError(f"{shown(sku)} is no known machine; {hint}", path, key="sku")


def _with_machine(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Read the machine of one's own: a file, named from the folder of this one, or its keys."""
    machine = content.get("machine")
    if isinstance(machine, str):
        return {**content, "machine": load_machine(path.parent / machine)}
    if isinstance(machine, dict):
        return {**content, "machine": machine_of(machine, path, "machine")}
    return content


def _quantities(
    content: dict[str, Any], units: dict[str, str], path: Path, place: str, faults: list[str]
) -> dict[str, Any]:
    """Read the quantities that can be read, and leave out those that are at fault."""
    result = dict(content)
    for key in units.keys() & content.keys():
        try:
            result |= read_quantities({key: content[key]}, units, path, place)
        except DataFileError as error:
            faults.append(str(error))
            del result[key]
    return result
