"""YAML as it is written: the same for every run, and of the same type for every reader."""

from __future__ import annotations

import re
from typing import Any

import yaml

PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*", re.ASCII)
"""Text that no reader takes for anything but text, but for the words below."""

WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity"}
"""Words that some reader takes for a boolean, for nothing or for a number."""


# The emitter in C is ten times faster, and not everywhere.
_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Base):  # type: ignore[misc]
    """Block style, with text quoted wherever a reader could mistake it."""

    def ignore_aliases(self, data: object) -> bool:
        """Write equal values out, each in its place."""
        return True


def _text(dumper: Any, text: str) -> yaml.ScalarNode:
    style = '"'
    if text.endswith("\n") and text.isascii() and "\t" not in text:
        style = "|"
    elif PLAIN.fullmatch(text) and text.lower() not in WORDS:
        style = ""
    node: yaml.ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
    return node


def _key_safe(content: Any) -> Any:
    """Copy nested content with plain types only."""
    if isinstance(content, dict):
        return {str(key): _key_safe(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_key_safe(value) for value in content]
    return content


_Dumper.add_representer(str, _text)


def yaml_text(content: Any) -> str:
    r"""Write content as one YAML document.

    Examples
    --------
    >>> yaml_text({"env": [{"name": "A", "value": "no"}, {"name": "B", "value": "1"}], "gpus": 4})
    'env:\n- name: A\n  value: "no"\n- name: B\n  value: "1"\ngpus: 4\n'
    """
    return str(
        yaml.dump(
            _key_safe(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000
        )
    )


def bare_words(text: str) -> list[tuple[int, str]]:
    """Find values y and n without quotes: text to one reader, booleans to another.

    Returns
    -------
    list of tuple
        Line, counted from 1, and the word.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    # The stubs say that a parsed event may lack its place; it never does.
    return [
        (int(event.start_mark.line) + 1, event.value)  # type: ignore[union-attr]
        for event in yaml.parse(text, loader)
        if isinstance(event, yaml.ScalarEvent)
        and event.implicit[0]
        and not event.style
        and event.value.lower() in ("y", "n")
    ]
