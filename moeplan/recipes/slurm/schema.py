"""What srtctl's own schema says of a recipe file: keys, their kinds, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from presets.deployment_tools import load_srtctl
from presets.errors import closest_hint, shown

Fault = tuple[str, str]
"""Place of a key, and what is wrong with it."""


def _is_whole(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().removeprefix("-").isdecimal()
    return isinstance(value, int | float) and float(value).is_integer()


def _is_number(value: object) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _is_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


KINDS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "any": ("anything", lambda value: True),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "list": ("a list", lambda value: isinstance(value, list)),
    "map": ("keys and values", lambda value: isinstance(value, dict)),
    "number": ("a number", _is_number),
    "section": ("keys and values", lambda value: isinstance(value, dict)),
    "text": ("text; quote it", lambda value: isinstance(value, str)),
    "texts": ("keys with text; quote the values", _is_texts),
    "whole": ("a whole number", _is_whole),
}
"""What a value of each kind must be, and whether one is; as lenient as srtctl's loader."""

BACKENDS = ("mocker", "sglang", "trtllm", "vllm")
DEFAULT_BACKEND = "sglang"


def schema_faults(content: dict[str, Any]) -> Iterator[Fault]:
    """Find what srtctl refuses to load, apart from keys that it does not know."""
    for name, section, value in _sections(content):
        for key, kind in section.items():
            place = f"{name}.{key}" if name else key
            bare = kind.rstrip("?!")
            if key not in value:
                if kind.endswith("!"):
                    yield place, "is missing"
            elif value[key] is None:
                if "?" not in kind and bare != "any":
                    yield place, f"is empty; it must be {KINDS[bare][0]}"
            elif not KINDS[bare][1](value[key]):
                yield place, f"{shown(value[key])} is not valid; it must be {KINDS[bare][0]}"
    backend = content.get("backend")
    if isinstance(backend, dict) and backend.get("type", DEFAULT_BACKEND) not in BACKENDS:
        yield (
            "backend.type",
            f"{shown(backend['type'])} is not valid; give {', '.join(BACKENDS)}",
        )


def unknown_keys(content: dict[str, Any]) -> Iterator[Fault]:
    """Find keys that srtctl does not know; a newer release may."""
    release = load_srtctl().release
    for name, section, value in _sections(content):
        for key in sorted(set(map(str, value)) - set(section)):
            place = f"{name}.{key}" if name else key
            hint = closest_hint(key, section)
            yield place, f"is no key of srtctl {release}; {hint}"


def _sections(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, str], dict[str, Any]]]:
    """Name, keys and content of each section that is there, the file itself first."""
    known = load_srtctl().sections
    backend = content.get("backend")
    chosen = backend.get("type", DEFAULT_BACKEND) if isinstance(backend, dict) else DEFAULT_BACKEND
    for name, section in known.items():
        head, *steps = name.replace(f"backend {chosen}", "backend").split(".")
        value: Any = content
        for step in [head, *steps] if name else []:
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, dict):
            yield ".".join([head, *steps]), section, value
