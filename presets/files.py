"""Files: how any is bounded and checked, and how one is written."""

import errno
import gzip
import json
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from presets.errors import DataFileError, InputError, closest_hint, shown

MAX_DEPTH = 20
"""Most parts of a dotted TOML key: its parser needs memory by their square. [1]"""

_PART = r"""(?>[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_DEEP_KEY = re.compile(rf"(?<![\w-]){_PART}(?>[ \t]*+\.[ \t]*+{_PART}){{{MAX_DEPTH}}}")

MAX_PRESET = 1_000_000
"""Longest file of a preset. [B]"""

RecordT = TypeVar("RecordT", bound=BaseModel)


def read_text(path: Path, limit: int) -> str:
    """Read a UTF-8 file that is no longer than `limit`, also when it is unpacked from ``.gz``.

    Parameters
    ----------
    path : Path
        The file.
    limit : int
        Longest accepted length. [B]

    Raises
    ------
    DataFileError
        Where the file cannot be read, is longer, or is not UTF-8.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(limit + 1)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "is not whole gzip"
        problem = f"cannot be read: {reason}; give the path of a file"
        raise DataFileError(problem, path) from None
    except ValueError:  # a NUL in the name
        raise InputError(
            f"{shown(str(path))} is not a file name; give the path of a file"
        ) from None
    if len(raw) > limit:
        raise DataFileError(f"is longer than {limit} bytes, the most that is read", path)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataFileError("is not UTF-8 text; save it as such", path, line=line) from None


def read_toml(path: Path, limit: int) -> dict[str, Any]:
    """Read a TOML file that is no longer than `limit`.

    Raises
    ------
    DataFileError
        Where the file cannot be read, is longer, or is not TOML.
    """
    text = read_text(path, limit)
    deep = _DEEP_KEY.search(text)
    if deep:
        line = text.count("\n", 0, deep.start()) + 1
        raise DataFileError(f"has a key of more than {MAX_DEPTH} parts, the most", path, line=line)
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DataFileError(f"is not TOML: {reason}", path) from None


def toml_value(value: object) -> str:
    """Write one value in TOML: JSON strings and numbers are TOML too, dates stand bare.

    >>> toml_value(("a", "b")), toml_value(9e11), toml_value(date(2026, 11, 23))
    ('["a", "b"]', '900000000000.0', '2026-11-23')
    """
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return json.dumps(list(value))
    # TOML has no surrogate pairs, and no bare DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def read_preset(
    path: Path,
    record: type[RecordT],
    facts_key: str | None = None,
    defaults: Mapping[str, object] = MappingProxyType({}),
) -> RecordT:
    """Read the TOML file of a preset into a record.

    Parameters
    ----------
    path : Path
        The file.
    record : type
        What it holds.
    facts_key : str, optional
        Name of the table whose entries stand at the top of the record.
    defaults : mapping
        What stands at the top of the record where the file does not say it.
    """
    content = read_toml(path, MAX_PRESET)
    if facts_key is not None:
        content = flattened(content, facts_key)
    return validated(record, {**defaults, **content}, path)


def flattened(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Bring what stands in the table under a key to the top; what is no table stays.

    >>> flattened({"name": "b200", "facts": {"power_watts": 1700}}, "facts")
    {'name': 'b200', 'power_watts': 1700}
    """
    inner = content.get(key)
    if not isinstance(inner, Mapping):
        return dict(content)
    return {name: each for name, each in content.items() if name != key} | dict(inner)


def validated(
    record: type[RecordT], content: object, path: Path | str = "", key: str = ""
) -> RecordT:
    """Check content against a record, and say in one sentence what is wrong.

    `key` is where in the file the content stands.

    Raises
    ------
    DataFileError
        Where a field is missing, unknown or out of range; `key` holds the field.
    """
    try:
        return record.model_validate(content)
    except ValidationError as error:
        # A misspelt key is both unknown and missing: the first says what to change.
        errors = error.errors(include_url=False)
        first = min(errors, key=lambda each: each["type"] != "extra_forbidden")
        place = ".".join(str(part) for part in (key, *first["loc"]) if part != "")
        raise DataFileError(explained(first, record), path, key=place or None) from None


def explained(error: ErrorDetails, record: type[BaseModel]) -> str:
    """Turn one validation error into what is wrong and what is valid.

    Examples
    --------
    >>> from presets.facts import Alternative
    >>> explained({"type": "missing", "loc": ("value",), "msg": "", "input": {}}, Alternative)
    'is missing; give a number'
    """
    kind, message = error["type"], error["msg"]
    if kind == "missing":
        return f"is missing{_wanted(record, error['loc'])}"
    if kind == "extra_forbidden":
        inner = _record_at(record, error["loc"][:-1])
        hint = f"; {closest_hint(error['loc'][-1], inner.model_fields)}" if inner else ""
        return f"is not a known key{hint}"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    valid = _PLAIN.get(kind) or message.replace("Input should be", "must be").split(", unable")[0]
    return f"{shown(error['input'])} is not valid; it {valid}"


_PLAIN = {
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_type": "must be a whole number",
    "invalid_key": "must be text, as a key",
    "model_type": "must be keys and values",
    "string_too_short": "must not be blank",
    "string_type": "must be text",
}
"""What is valid, where pydantic's words suit its own users better than a reader of a file."""


def _record_at(record: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Find the record nested at `place`; None where it is not one record."""
    for part in place:
        field = record.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return None
        record = inner
    return record


def _wanted(record: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """Say what a field that is missing takes; nothing where that takes more than a few words."""
    inner = _record_at(record, place[:-1])
    fields = inner.model_json_schema()["properties"] if inner else {}
    field = fields.get(str(place[-1]), {})
    if "enum" in field:
        return f"; give {' or '.join(map(repr, field['enum']))}"
    kind, low, high = _KINDS.get(field.get("type")), field.get("minimum"), field.get("maximum")
    span = f" from {low} to {high}" if low is not None and high is not None else ""
    return f"; give {kind}{span}" if kind else ""


_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "keys and values",
}
"""Types of JSON in words."""


def write_whole(path: Path, content: str | bytes) -> None:
    """Write text or bytes beside its place and move it there, so that a file is never half written.

    A symbolic link stays, and what it points to is written. What is there and no regular file, such
    as a pipe or a device, is written to directly.

    Raises
    ------
    OSError
        Where it cannot be written; an existing file is then as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    if is_stream(path):
        path.write_bytes(data)
        return
    import tempfile  # a command that writes no file need not wait for it

    place = link_target(path)
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(name).chmod(_mode(place))
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def is_stream(path: Path) -> bool:
    """Say whether a path is there and can only be written to: a pipe or a device."""
    return path.exists() and not path.is_file() and not path.is_dir()


def link_target(path: Path) -> Path:
    """Follow symbolic links to the place that is written; it need not be there yet.

    Raises
    ------
    OSError
        Where links go in a circle.
    """
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return place


def same_file(first: Path, second: Path) -> bool:
    """Say whether two names are of one regular file, or would be once it is there."""
    if first.exists() and second.exists():
        return first.is_file() and first.samefile(second)
    return os.path.realpath(first) == os.path.realpath(second)


def _mode(path: Path) -> int:
    """Permissions of the file that is replaced, else those that the user's mask leaves."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
