"""Command lines as typed options: written quoted, read back exactly, no abbreviation."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from presets.errors import shown

Flag = Literal[True] | None
"""An option without a value."""


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("needs a value; give a whole number")
    return value


def _text(value: object) -> object:
    if value is True:
        raise ValueError("needs a value")
    return value


LARGEST_PORT = 65_535
SLOT_PORT = re.compile(r"\$\(\(([0-9]{1,5}) \+ ([0-9]{1,5}) \* SLOT\)\)")
SLOTS = 16
"""Most workers that share a server. [1]"""


def _port(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _port_in_range(text: str) -> str:
    if not (text.isdecimal() or SLOT_PORT.fullmatch(text)) or not (
        1 <= port_at(text, 0) <= port_at(text, SLOTS - 1) <= LARGEST_PORT
    ):
        raise ValueError(f"{shown(text)} is not valid; give a port from 1 to {LARGEST_PORT}")
    return text


def slot_port(first: int, step: int) -> str:
    """Write the port of a worker by its slot, its place among those on its server."""
    return f"$(({first} + {step} * SLOT))"


def port_at(port: str, slot: int) -> int:
    """Port of the worker at a slot; without a slot in it the same for all.

    Examples
    --------
    >>> port_at("8100", 3), port_at(slot_port(8100, 100), 3)
    (8100, 8400)
    """
    match = SLOT_PORT.fullmatch(port)
    return int(match[1]) + slot * int(match[2]) if match else int(port[:6])


def _words(value: object) -> object:
    return [value] if isinstance(value, str) else _text(value)


def _json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None


Count = Annotated[int, BeforeValidator(_number), Field(ge=1, le=100_000_000)]
CountOrZero = Annotated[int, BeforeValidator(_number), Field(ge=0, le=100_000_000)]
Port = Annotated[int, BeforeValidator(_number), Field(ge=1, le=LARGEST_PORT)]
SlotPort = Annotated[str, BeforeValidator(_port), AfterValidator(_port_in_range)]
"""A port, or one for each worker that shares a server: ``$((8100 + 100 * SLOT))``."""

Share = Annotated[float, BeforeValidator(_number), Field(gt=0, le=1)]
Text = Annotated[str, BeforeValidator(_text), Field(min_length=1)]
Words = Annotated[list[Text], BeforeValidator(_words)]
"""Words after one option, at least one."""

FromJson = BeforeValidator(_json)


class JsonPart(BaseModel):
    """A JSON object as the value of an option."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Options(BaseModel):
    """Base of the options of one program; the alias of a field is the option.

    Attributes
    ----------
    shell_fields : frozenset of str
        Fields whose value the shell completes when it runs.
    repeated_fields : frozenset of str
        Fields whose option stands once for each entry of a list.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True
    )

    shell_fields: ClassVar[frozenset[str]] = frozenset()
    repeated_fields: ClassVar[frozenset[str]] = frozenset()

    def words(self) -> list[str]:
        """Option names and values, in the order of the class."""
        return [word for _, words in self._groups() for word in words]

    def lines(self) -> list[str]:
        """One line per option, quoted for a shell."""
        return [
            " ".join([words[0], *(_quoted(word, name in self.shell_fields) for word in words[1:])])
            for name, words in self._groups()
        ]

    def _groups(self) -> list[tuple[str, list[str]]]:
        groups = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value is None:
                continue
            option = str(field.alias)
            if name in self.repeated_fields:
                groups += [(name, [option, *map(str, entry)]) for entry in value]
            else:
                groups.append((name, [option, *_value_words(value)]))
        return groups


def _value_words(value: object) -> list[str]:
    if value is True:
        return []
    if isinstance(value, list):
        return [str(entry) for entry in value]
    if isinstance(value, BaseModel):
        content = value.model_dump(mode="json", exclude_none=True)
        return [json.dumps(content, separators=(",", ":"))]
    return [str(value)]


def _quoted(word: str, shell: bool) -> str:
    return f'"{word}"' if shell and "$" in word else shlex.quote(word)


def read_words(
    words: Sequence[str], options: type[Options]
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Take words apart into options and values.

    Parameters
    ----------
    words : sequence of str
        What follows the name of the program.
    options : type
        Whose options may be repeated.

    Returns
    -------
    tuple
        Values by option, ready to be checked; words before the first option; options that stand
        twice.

    Examples
    --------
    >>> class Some(Options):
    ...     size: Annotated[int | None, Field(alias="--size")] = None
    >>> read_words(["serve", "--size", "4", "--fast", "--size=5"], Some)
    ({'--size': '5', '--fast': True}, ['serve'], ['--size'])
    """
    repeated = {str(options.model_fields[name].alias) for name in options.repeated_fields}
    values: dict[str, Any] = {}
    leading: list[str] = []
    twice: list[str] = []
    entry: list[str] = leading
    for word in words:
        if not word.startswith("--"):
            entry.append(word)
            continue
        name, equals, value = word.partition("=")
        entry = [value] if equals else []
        if name in repeated:
            values.setdefault(name, []).append(entry)
        else:
            twice += [name] if name in values else []
            values[name] = entry
    for name, value in values.items():
        if name not in repeated:
            values[name] = True if not value else value[0] if len(value) == 1 else value
    return values, leading, twice


def script(
    comment: str, program: Sequence[str], lines: Sequence[str], before: Sequence[str] = ()
) -> str:
    """Write a shell script that replaces itself by one program.

    Parameters
    ----------
    comment : str
        What it does, on one line.
    program : sequence of str
        Words before the options.
    lines : sequence of str
        Options, quoted, one per line.
    before : sequence of str
        Commands that come first.
    """
    start = "exec " + " ".join(shlex.quote(word) for word in program)
    command = " \\\n  ".join([start, *lines, '"$@"'])
    return "\n".join(["#!/bin/sh", f"# {comment}", "set -eu", *before, command, ""])


def read_script(text: str) -> tuple[list[str], dict[str, str]]:
    """Read the program that a script ends in, and what it exports.

    Raises
    ------
    ValueError
        Where it starts no program, or a quote is not closed.

    Examples
    --------
    >>> read_script(script("Serve.", ["serve"], ["--size 4"], ["export A='b c'"]))
    (['serve', '--size', '4'], {'A': 'b c'})
    """
    joined = text.replace("\\\n", " ").splitlines()
    exports: dict[str, str] = {}
    command: list[str] | None = None
    for line in joined:
        line = line.strip()
        if line.startswith("export "):
            for word in _split(line)[1:]:
                name, _, value = word.partition("=")
                exports[name] = value
        if line.startswith("exec "):
            command = _split(line)[1:]
    if not command:
        raise ValueError("starts no program with exec")
    return [word for word in command if word != "$@"], exports


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise ValueError(f"is no shell text: {error}") from None
