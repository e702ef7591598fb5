"""Machines as they are named where several stand side by side: ``gb200:vllm``, ``mine.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from moeplan.clusters import cluster_of
from moeplan.options import DEFAULTS, SERVING, Options, checked
from presets import (
    ClusterPools,
    ClusterSpec,
    Hardware,
    InputError,
    load_hardware,
    load_machine,
    read_cluster,
)
from presets.errors import shown
from presets.folders import engine_names

SEPARATOR = ":"

MACHINE_FILES = (".toml",)
CLUSTER_FILES = (".yaml", ".yml")


class Machine(NamedTuple):
    """One machine of several, and the options that its name says.

    Attributes
    ----------
    label : str
        What tells it apart: the name, or that of its file without the folder, and the words.
    sku : str or None
        Machine; None takes that of its file.
    options : Options
        With engine, serving mode, pool and file as named.
    """

    label: str
    sku: str | None
    options: Options

    @property
    def skus(self) -> tuple[str, ...]:
        """Machines that it may be of: one, or those of the pools of its cluster."""
        if self.sku is not None:
            return (self.sku,)
        if isinstance(self.options.machine, Hardware):
            return (self.options.machine.name,)
        cluster = self.options.cluster
        pools = cluster.pools.values() if isinstance(cluster, ClusterPools) else [cluster]
        return tuple(pool.sku for pool in pools if isinstance(pool, ClusterSpec))


def machine_of(text: str | None, options: Options = DEFAULTS) -> Machine:
    """Read the name of a machine, or of a machine file (TOML) or cluster file (YAML), and words.

    Parameters
    ----------
    text : str
        Such as ``gb200``, ``gb200:vllm``, ``b200:aggregated:sglang`` or ``mine.yaml:vllm``: words
        in any order name an engine, a serving mode and, of a cluster of several, a pool. None
        takes the machine of the file that the options have.
    options : Options
        What holds besides.

    Raises
    ------
    InputError
        Where the machine or a word is unknown, or the file cannot be read.

    Examples
    --------
    >>> found = machine_of("gb200:vllm:aggregated")
    >>> found.label, found.sku, found.options.engine, found.options.serving
    ('gb200:vllm:aggregated', 'gb200', 'vllm', 'aggregated')
    """
    if text is None:
        return Machine(cluster_of(None, checked(options)).sku, None, options)
    name, *words = text.split(SEPARATOR)
    suffix, sku = Path(name).suffix.lower(), None
    if suffix in MACHINE_FILES:
        options = replace(options, machine=load_machine(name), cluster=None)
    elif suffix in CLUSTER_FILES:
        options = replace(options, cluster=read_cluster(name), machine=None)
    else:
        sku = name
        if options.machine is None:
            load_hardware(sku)
    pools = options.cluster.pools if isinstance(options.cluster, ClusterPools) else ()
    valid: dict[str, Sequence[str]] = {"engine": engine_names(), "serving": SERVING}
    valid |= {"pool": tuple(pools)} if sku is None and pools else {}
    said: dict[str, Any] = {}
    for word in words:
        kind = next((kind for kind, known in valid.items() if word in known), None)
        if kind is None or kind in said:
            raise _refused(text, word, said.get(kind or ""), valid)
        said[kind] = word
    label = SEPARATOR.join([Path(name).name if suffix and sku is None else name, *words])
    return Machine(label, sku, replace(options, **said))


def machines_of(
    texts: Sequence[str], options: Options | Mapping[str, Options] = DEFAULTS, least: int = 1
) -> list[Machine]:
    """Read the names of several machines; options are of all, or of each by its text.

    Raises
    ------
    InputError
        As `machine_of` does, or where they are too few or two are the same.
    """
    found = [
        machine_of(text, options if isinstance(options, Options) else options.get(text, DEFAULTS))
        for text in texts
    ]
    if len({each.label for each in found}) < len(found):  # files of one name in two folders
        found = [each._replace(label=text) for each, text in zip(found, texts, strict=True)]
    if len(found) < least or len({each.label for each in found}) < len(found):
        given = ", ".join(texts) or "none"
        raise InputError(
            f"machines: {given} is not valid; give {_AT_LEAST[least]} different machines, or one "
            "with different words, such as gb200 gb200:vllm"
        )
    return found


_AT_LEAST = {1: "one or more", 2: "two or more"}


def _refused(
    text: str, word: str, before: str | None, valid: Mapping[str, Sequence[str]]
) -> InputError:
    named = ", ".join(f"{kind} ({', '.join(known)})" for kind, known in valid.items())
    problem = f"follows {shown(before)}, and one is enough" if before else "is not a known word"
    return InputError(
        f"{shown(text)}: {shown(word)} {problem}; valid after a colon, one of each: {named}"
    )
