"""Cluster files: YAML that describes a `ClusterSpec`, or several as pools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from presets.cluster import OVERRIDES, UNITS, ClusterSpec
from presets.cluster_pools import MOST_POOLS, ClusterPools
from presets.errors import DataFileError, InputError, closest_hint, shown
from presets.files import explained, validated
from presets.hardware import hardware_names, load_hardware
from presets.machine_file import load_machine, machine_of
from presets.quantities import note_unusual, read_quantities
from presets.scale_out import SCALE_OUT_UNITS

POOLS = "pools"
"""Key of a file that describes several clusters, by name."""

_COUNTS = ("gpus_per_domain", "gpus_per_node")


def load_cluster(path: str | Path) -> ClusterSpec:
    """Read a cluster file of one pool of machines.

    Parameters
    ----------
    path : str or Path
        A YAML file of at most `presets.yaml_file.MAX_BYTES`, without aliases.

    Raises
    ------
    InputError
        Where the file is malformed, or a key is unknown, missing or out of range: the first fault;
        or where it has several pools.
    """
    return pool_of(read_cluster(path))


def read_cluster(path: str | Path) -> ClusterSpec | ClusterPools:
    """Read a cluster file, of one pool of machines or several; as `load_cluster`."""
    if not isinstance(path, str | Path):
        raise InputError(f"path: {shown(path)} is not valid; give the path of a file")
    path = Path(path)
    content = _content(path)
    if POOLS not in content:
        return _read(content, path)
    faults = list(_pool_faults(content, path))
    if faults:
        raise faults[0]
    pools = {name: _read(each, path, f"{POOLS}.{name}") for name, each in content[POOLS].items()}
    return validated(ClusterPools, {POOLS: pools}, path)


def pool_of(cluster: ClusterSpec | ClusterPools, pool: str | None = None) -> ClusterSpec:
    """Give the pool of a name, None for the only one.

    Raises
    ------
    InputError
        Where there is no such pool, or several.
    """
    if isinstance(cluster, ClusterPools):
        return cluster.pools[cluster.chosen(pool, None)]
    if pool is not None:
        raise InputError(f"pool: the cluster has no pools, and so none {shown(pool)}; leave it out")
    return cluster


def cluster_faults(path: str | Path) -> list[str]:
    """Find all that is wrong in a cluster file, a sentence each; none in one that can be read.

    What cannot be understood, as a machine of another name, hides no other fault.
    """
    path = Path(path)
    try:
        content = _content(path)
    except DataFileError as error:
        return [str(error)]
    if POOLS not in content:
        return _faults(content, path)
    faults = [str(each) for each in _pool_faults(content, path)]
    pools = content[POOLS] if isinstance(content[POOLS], dict) else {}
    for name, each in pools.items():
        if isinstance(each, dict):
            faults += _faults(each, path, f"{POOLS}.{name}")
    return faults


def _pool_faults(content: dict[str, Any], path: Path) -> Iterator[DataFileError]:
    """Say what is wrong in a file of pools besides the pools themselves."""
    for key in content.keys() - {POOLS}:
        problem = f"is not a known key beside {POOLS}; put it into the pool that it is of"
        yield DataFileError(problem, path, key=str(key))
    pools = content[POOLS]
    if not isinstance(pools, dict) or not 1 <= len(pools) <= MOST_POOLS:
        problem = f"must hold 1 to {MOST_POOLS} pools by name, such as 'rack: {{sku: gb200}}'"
        yield DataFileError(problem, path, key=POOLS)
        return
    for name, each in pools.items():
        if not isinstance(name, str):
            yield DataFileError(f"{shown(name)} is no name; it must be text", path, key=POOLS)
        if not isinstance(each, dict):
            problem = "must hold keys and values, such as 'sku: b200'"
            yield DataFileError(problem, path, key=f"{POOLS}.{name}")


def _read(content: dict[str, Any], path: Path, place: str = "") -> ClusterSpec:
    """Make a cluster of the keys that stand in a place of a file."""
    _check_sku(content, path, place)
    content = _with_machine(content, path, place)
    content = read_quantities(content, UNITS, path, place)
    if isinstance(fabric := content.get("scale_out"), dict):
        inner = _key(place, "scale_out")
        content["scale_out"] = read_quantities(fabric, SCALE_OUT_UNITS, path, inner)
    spec = validated(ClusterSpec, content, path, place)
    for key, (fact, factor) in OVERRIDES.items():
        if getattr(spec, key) is not None and fact not in _COUNTS:
            sold = [load_hardware(name).facts[fact] for name in hardware_names()]
            known = [each.value for each in sold if each.kind != "assumed"]
            known = known or [each.value for each in sold]
            usual = min(known) / factor, max(known) / factor
            name = f"{path}, key {_key(place, key)}"
            note_unusual(name, getattr(spec, key), UNITS[key], usual)
    return spec


def _faults(content: dict[str, Any], path: Path, place: str = "") -> list[str]:
    """Find all that is wrong in the keys of one cluster."""
    faults: list[str] = []
    try:
        _check_sku(content, path, place)
    except DataFileError as error:
        faults.append(str(error))
        content = {**content, "sku": hardware_names()[0]}
    try:
        content = _with_machine(content, path, place)
    except InputError as error:
        faults += getattr(error, "__notes__", [str(error)])
        content = {**content, "machine": load_hardware(hardware_names()[0])}
        content.pop("sku", None)
    content = _quantities(content, UNITS, path, place, faults)
    if isinstance(fabric := content.get("scale_out"), dict):
        inner = _key(place, "scale_out")
        content["scale_out"] = _quantities(fabric, SCALE_OUT_UNITS, path, inner, faults)
    disagreements: list[str] = []
    try:
        ClusterSpec.model_validate(content, context=disagreements)
    except ValidationError as error:
        found = error.errors(include_url=False)
        for each in found:
            key = _key(place, *each["loc"]) or None
            faults.append(str(DataFileError(explained(each, ClusterSpec), path, key=key)))
        # Keys that disagree show once those at fault are left out.
        wrong = {each["loc"][0] for each in found if each["loc"]}
        rest = {key: value for key, value in content.items() if key not in wrong}
        with suppress(ValidationError):
            ClusterSpec.model_validate(rest, context=disagreements)
    return faults + [str(DataFileError(each, path, key=place or None)) for each in disagreements]


def _key(*parts: object) -> str:
    return ".".join(str(part) for part in parts if part != "")


def _content(path: Path) -> dict[str, Any]:
    # Most questions name a machine: the YAML library is loaded for a file only.
    from presets.yaml_file import read_yaml

    content = read_yaml(path)
    if not isinstance(content, dict):
        raise DataFileError("must hold keys and values, such as 'sku: b200'", path)
    return content


def _check_sku(content: dict[str, Any], path: Path, place: str) -> None:
    sku = content.get("sku")
    if isinstance(sku, str) and sku not in hardware_names():
        hint = closest_hint(sku, hardware_names())
        problem = f"{shown(sku)} is no known machine; {hint}"
        raise DataFileError(problem, path, key=_key(place, "sku"))


def _with_machine(content: dict[str, Any], path: Path, place: str) -> dict[str, Any]:
    """Read the machine of one's own: a file, named from the folder of this one, or its keys."""
    machine = content.get("machine")
    if isinstance(machine, str):
        return {**content, "machine": load_machine(path.parent / machine)}
    if isinstance(machine, dict):
        return {**content, "machine": machine_of(machine, path, _key(place, "machine"))}
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
