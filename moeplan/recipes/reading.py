"""Reading the texts of a recipe into typed documents; every malformed field is a finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from moeplan.recipes.command_line import Options, read_script, read_words
from moeplan.recipes.parsed import Parsed, Severity
from moeplan.recipes.yaml_text import bare_words
from presets import DataFileError
from presets.engines import Engine
from presets.errors import closest_hint, shown
from presets.files import explained
from presets.yaml_file import parse_yaml

MOST_FINDINGS = 20
"""Most malformed fields of a document that are told. [1]"""

MOST_ROUNDS = 5
"""Most times that faults are left out before a document counts as unreadable. [1]"""

ModelT = TypeVar("ModelT", bound=BaseModel)
OptionsT = TypeVar("OptionsT", bound=Options)


def model_of(parsed: Parsed, place: str, content: object, model: type[ModelT]) -> ModelT | None:
    """Read content into its model, and note it; each malformed field becomes a finding.

    What is malformed is left out, or taken as it is meant ("8" for 8), so that checks of all else
    go on. None where too little is left.
    """
    try:
        found: ModelT | None = model.model_validate(content)
    except ValidationError as error:
        for each in error.errors(include_url=False)[:MOST_FINDINGS]:
            parts = [str(part) for part in each["loc"] if not str(part).startswith("constrained")]
            where = f"{place}: {'.'.join(parts)}" if parts else place
            parsed.tell("schema", where, explained(each, model))
        found = salvaged(content, model)
    if found is not None:
        parsed.documents[place] = found
    return found


def salvaged(content: object, model: type[ModelT]) -> ModelT | None:
    """Read what is left of content without its faults."""
    rest = deepcopy(content)
    for _ in range(MOST_ROUNDS):
        try:
            return model.model_validate(rest, strict=False)
        except ValidationError as error:
            # From the back, so that entries of lists keep their numbers.
            places = sorted((each["loc"] for each in error.errors()), key=str, reverse=True)
            if not any([_left_out(rest, place) for place in places]):
                return None
    return None


def _left_out(content: Any, place: Sequence[int | str]) -> bool:
    """Take the value at a place out of nested content; tell whether there was one."""
    for step in place[:-1]:
        try:
            content = content[step]
        except (KeyError, IndexError, TypeError):
            return False
    if not place or not isinstance(content, dict) or place[-1] not in content:
        return False
    del content[place[-1]]
    return True


def yaml_of(parsed: Parsed, place: str, text: str, odd: Severity = "error") -> Any:
    """Parse one YAML document; what is not becomes a finding.

    How much a bare y or n and a repeated key matter depends on who reads it: Kubernetes takes the
    first for booleans and refuses the second, PyYAML takes both in silence.
    """
    repeated: list[tuple[int, str]] | None = None if odd == "error" else []
    try:
        content = parse_yaml(text, Path(), repeated)
    except DataFileError as error:
        parsed.tell("schema", place, str(error).removeprefix("., "))
        return None
    for line, word in bare_words(text):
        problem = f"{word} without quotes is text to one reader and a boolean to another; quote it"
        parsed.tell("schema", f"{place}: line {line}", problem, odd)
    for line, key in repeated or ():
        problem = f"{shown(key)} stands twice; the last is taken"
        parsed.tell("schema", f"{place}: line {line}", problem, odd)
    if content is None:
        parsed.tell("schema", place, "is empty")
    return content


def document(
    parsed: Parsed, files: Mapping[str, str], name: str, model: type[ModelT], *, needed: bool = True
) -> ModelT | None:
    """Read one YAML file of a recipe into its model."""
    if name not in files:
        if needed:
            parsed.tell("files", name, "is missing")
        return None
    content = yaml_of(parsed, name, files[name])
    return None if content is None else model_of(parsed, name, content, model)


def options_of(
    parsed: Parsed,
    place: str,
    words: list[str],
    model: type[OptionsT],
    engine: Engine | None = None,
) -> OptionsT | None:
    """Read the words of a command into its options.

    With an engine, options that it has and a recipe does not look at pass, and those that it no
    longer has are told with what to give instead.
    """
    values, stray, twice = read_words(words, model)
    for word in stray:
        parsed.tell("options", place, f"{shown(word)} follows no option")
    for name in twice:
        parsed.tell("options", f"{place}: {name}", "stands twice")
    known = {str(field.alias) for field in model.model_fields.values()}
    for name in sorted(set(values) - known):
        problem = _unknown(name, known, engine)
        if problem:
            parsed.tell("options", f"{place}: {name}", problem)
        del values[name]
    return model_of(parsed, place, values, model)


def _unknown(name: str, known: set[str], engine: Engine | None) -> str | None:
    """Say what is wrong with an option that the model does not have; None where nothing is."""
    if engine is None:
        return f"is not a known option; {closest_hint(name, known)}"
    if name in engine.refused:
        return f"is gone or ambiguous in {engine.title}; give {engine.refused[name]}"
    if name in engine.option_names:
        return None
    near = closest_hint(name, engine.option_names).partition("? Valid")[0]
    hint = f"; {near}?" if near.startswith("did you mean") else ""
    return f"is no option of {engine.title}{hint}"


def command_of(
    parsed: Parsed, files: Mapping[str, str], name: str
) -> tuple[list[str], dict[str, str]] | None:
    """Read the program of a script; words after ``exec``, and what it exports."""
    if name not in files:
        parsed.tell("files", name, "is missing")
        return None
    try:
        return read_script(files[name])
    except ValueError as error:
        parsed.tell("schema", name, str(error))
        return None


def program_of(
    parsed: Parsed, files: Mapping[str, str], name: str, program: tuple[str, ...]
) -> tuple[list[str], dict[str, str]] | None:
    """Read a script that must start a given program; gives the words behind it."""
    command = command_of(parsed, files, name)
    if command is None:
        return None
    words, exports = command
    if tuple(words[: len(program)]) != program:
        started = shown(" ".join(words[: len(program)]))
        parsed.tell("schema", name, f"starts {started}; it must start {' '.join(program)!r}")
        return None
    return words[len(program) :], exports
