"""How a recipe is spoilt."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from moeplan.recipes.yaml_text import yaml_text

Files = dict[str, str]


Place = tuple[str | int, ...]


PREFILL = ("spec", "components", 1)


DECODE = ("spec", "components", 2)


POD = ("podTemplate", "spec")


MAIN = (*POD, "containers", 0)


GONE = object()


class Mutation(NamedTuple):
    """What is spoilt, and what must be told."""

    format: str
    change: Callable[[Files], None]
    check: str
    field: str


def spoil(content: Any, place: Place, value: object) -> None:
    *steps, last = place
    for step in steps:
        content = content[step]
    if value is GONE:
        del content[last]
    elif callable(value):
        content[last] = value(content[last])
    else:
        content[last] = value


def in_yaml(name: str, place: Place, value: object) -> Callable[[Files], None]:
    """Spoil one field of a YAML file."""

    def change(files: Files) -> None:
        content = yaml.safe_load(files[name])
        spoil(content, place, value)
        files[name] = yaml_text(content)

    return change


def in_engine(role: str, place: Place, value: object) -> Callable[[Files], None]:
    """Spoil one key of an engine file inside its config map."""

    def change(files: Files) -> None:
        name, key = f"{role}-engine.yaml", f"{role}.yaml"
        config_map = yaml.safe_load(files[name])
        content = yaml.safe_load(config_map["data"][key])
        spoil(content, place, value)
        config_map["data"][key] = yaml_text(content)
        files[name] = yaml_text(config_map)

    return change


def in_text(name: str, old: str, new: str) -> Callable[[Files], None]:
    """Spoil the text of a file."""

    def change(files: Files) -> None:
        assert old in files[name], (name, old)
        files[name] = files[name].replace(old, new, 1)

    return change


def one_more(name: str, option: str) -> Callable[[Files], None]:
    """Raise the number of an option by one."""

    def change(files: Files) -> None:
        text, count = re.subn(
            rf"({option} )(\d+)", lambda found: f"{found[1]}{int(found[2]) + 1}", files[name]
        )
        assert count == 1
        files[name] = text

    return change


def without(name: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        del files[name]

    return change


def after(option: str, value: str) -> Callable[[list[str]], list[str]]:
    """Give another value to an option among words."""

    def replaced(words: list[str]) -> list[str]:
        at = words.index(option)
        return [*words[: at + 1], value, *words[at + 2 :]]

    return replaced


def args(role: Place, option: str, value: str) -> Callable[[Files], None]:
    """Give another value to an option among the arguments of a pod."""
    return in_yaml("deployment.yaml", (*role, *MAIN, "args"), after(option, value))
