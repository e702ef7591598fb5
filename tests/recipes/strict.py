"""Validation as a strict API server does it, against the definitions of tests/schemas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parents[1] / "schemas"

Content = dict[str, Any]


@cache
def definition(name: str) -> Content:
    """Schema of one served version of a custom resource."""
    content: Content = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    return content


@cache
def resource_validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(strict(definition(name)))


def strict(schema: Any) -> Any:
    """Turn a structural schema into JSON schema that refuses unknown fields."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        rest = {k: v for k, v in schema.items() if k == "pattern"}
        return {"anyOf": [{"type": "integer"}, {"type": "string", **rest}]}
    result = {
        key: {name: strict(each) for name, each in value.items()}
        if key == "properties"
        else strict(value)
        for key, value in schema.items()
        if not key.startswith("x-kubernetes-") and key not in ("description", "default", "format")
    }
    closed = (
        result.get("type") == "object"
        and "properties" in result
        and "additionalProperties" not in result
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    )
    if closed:
        result["additionalProperties"] = False
    return result


def without_nulls(content: Any) -> Any:
    if isinstance(content, dict):
        return {k: without_nulls(v) for k, v in content.items() if v is not None}
    return [without_nulls(each) for each in content] if isinstance(content, list) else content


def errors(validator: Draft202012Validator, content: object) -> list[str]:
    found = validator.iter_errors(without_nulls(content))
    return [f"{'.'.join(map(str, each.absolute_path))}: {each.message[:200]}" for each in found]


def _unique_names(components: list[Content]) -> bool:
    names = [each["name"].lower() for each in components]
    return len(set(names)) == len(names)


RULES: dict[str, Callable[[Any], bool]] = {
    "oldSelf.hasValue() || !has(self.restart)": lambda spec: "restart" not in spec,
    "self.filter(c, has(c.type) && c.type == 'epp').size() <= 1": lambda components: (
        sum(each.get("type") == "epp" for each in components) <= 1
    ),
    "self.all(c1, !has(c1.name) || self.filter(c2, has(c2.name) && c2.name.lowerAscii() == "
    "c1.name.lowerAscii()).size() == 1)": _unique_names,
    'self.name == "main" || (has(self.image) && self.image != "")': lambda container: bool(
        container["name"] == "main" or container.get("image")
    ),
    "!has(self.eppConfig) || (has(self.type) && self.type == 'epp')": lambda component: (
        "eppConfig" not in component or component.get("type") == "epp"
    ),
    "!has(self.minAvailable) || (has(self.replicas) && self.replicas == 0) || self.minAvailable <= "
    "(has(self.replicas) ? self.replicas : 1)": lambda component: (
        component.get("replicas") == 0
        or component.get("minAvailable", 0) <= component.get("replicas", 1)
    ),
}
"""Rules of admission on what recipes set, by their text."""


def broken_rules(schema: Content, content: Any, place: str = "") -> Iterator[str]:
    """Rules of a schema that content breaks; one that is not known here is broken too."""
    for rule in schema.get("x-kubernetes-validations", []):
        text = " ".join(rule["rule"].split())
        if ("oldSelf." in text and text not in RULES) or text.startswith("!has(oldSelf"):
            continue  # judges a change, not an object
        if text == "self == oldSelf":
            continue
        if text not in RULES or not RULES[text](content):
            yield f"{place}: {text}"
    if isinstance(content, dict):
        for name, value in content.items():
            below = schema.get("properties", {}).get(name)
            if below is not None:
                yield from broken_rules(below, value, f"{place}.{name}")
    if isinstance(content, list) and isinstance(schema.get("items"), dict):
        for number, value in enumerate(content):
            yield from broken_rules(schema["items"], value, f"{place}.{number}")


@cache
def engine_validator() -> Draft202012Validator:
    return Draft202012Validator(
        json.loads((SCHEMAS / "trtllm_engine.schema.json").read_text(encoding="utf-8"))
    )


@cache
def sglang_options() -> dict[str, Content]:
    content = json.loads((SCHEMAS / "sglang_0.5.23_cli_options.json").read_text(encoding="utf-8"))
    return {flag: option for option in content["options"] for flag in option["flags"]}


def sglang_errors(words: list[str]) -> Iterator[str]:
    """What an exact parser of the options refuses."""
    options = sglang_options()
    at = 0
    while at < len(words):
        option = options.get(words[at])
        if option is None or option["const_flag"].startswith("Deprecated"):
            yield f"{words[at]} is no current option"
            at += 1
            continue
        if option["nargs"] == 0:
            at += 1
            continue
        value = words[at + 1]
        if option["type"] in ("int", "human_readable_int") and not value.lstrip("-").isdecimal():
            yield f"{words[at]} {value} is no number"
        if option["type"] == "float":
            float(value)
        if option["choices"] is not None and value not in option["choices"]:
            yield f"{words[at]} {value} is no choice"
        at += 2
