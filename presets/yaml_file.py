"""YAML as users write it: safe, bounded, without aliases and repeated keys."""

import re
from collections.abc import Hashable
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from presets.errors import DataFileError
from presets.files import read_text

MAX_BYTES = 1_000_000
"""Longest YAML file that is read. [B]"""

MAX_DEPTH = 20
"""Deepest nesting that is read; a cluster file needs two. [1]"""


def read_yaml(path: Path) -> object:
    """Read a YAML file by a safe loader.

    Raises
    ------
    DataFileError
        Where the file is longer than `MAX_BYTES`, not YAML, has an alias or a repeated key, or is
        nested deeper than `MAX_DEPTH`.
    """
    return parse_yaml(read_text(path, MAX_BYTES), path)


def parse_yaml(text: str, path: Path, repeated: list[tuple[int, str]] | None = None) -> object:
    """Parse YAML as `read_yaml` does; `path` is what errors name.

    With a list for them, line and name of repeated keys are noted there and not refused.
    """
    loader_class = _loader()
    try:
        _check_events(text, path, loader_class)
        loader = loader_class(text)
        try:
            root = loader.get_single_node()
            _check_keys(root, path, repeated)
            return None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        if "nesting depth" in str(error.problem):  # newer parsers in C have a bound of their own
            raise DataFileError(
                f"is nested deeper than {MAX_DEPTH}, the most", path, line=line
            ) from None
        raise DataFileError(f"is not YAML: {error.problem}", path, line=line) from None
    except DataFileError:
        raise
    except (yaml.YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0].split(";")[0]
        raise DataFileError(f"is not YAML: {reason}", path) from None


@lru_cache
def _loader() -> Any:
    """Make the safe loader without numbers to base 60, which took "2:1" for 121."""
    # The loader in C is twenty times faster, and not everywhere.
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader: Any = type("Loader", (base,), {})
    loader.yaml_implicit_resolvers = {
        first: [(tag, _without_base_60(tag, pattern)) for tag, pattern in resolvers]
        for first, resolvers in base.yaml_implicit_resolvers.items()
    }
    return loader


def _without_base_60(tag: str, pattern: re.Pattern[str]) -> re.Pattern[str]:
    if tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
        return pattern
    return re.compile(rf"(?!.*:)(?:{pattern.pattern})", pattern.flags)


def _check_events(text: str, path: Path, loader_class: Any) -> None:
    """Refuse, before anything is built, what could grow or recurse without bound."""
    depth = 0
    for event in yaml.parse(text, loader_class):
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            raise DataFileError("has an alias; write the value out", path, line=line)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise DataFileError(f"is nested deeper than {MAX_DEPTH}, the most", path, line=line)


def _line(part: Any) -> int:
    """Line of an event or a node of YAML, counted from 1."""
    return int(part.start_mark.line) + 1


def _check_keys(node: yaml.Node | None, path: Path, repeated: list[tuple[int, str]] | None) -> None:
    """Refuse a key that stands twice in one mapping: YAML would keep the last and say nothing."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, path, repeated)
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen and repeated is not None:
                repeated.append((_line(key), name))
            elif name in seen:
                raise DataFileError("stands twice; keep one", path, line=_line(key), key=name[:40])
            seen.add(name)
            _check_keys(value, path, repeated)
