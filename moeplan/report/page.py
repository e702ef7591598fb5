"""The page: a template, its style and its script, and the content as JSON inside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

SCRIPTS = ("prices.js", "elements.js", "chart.js", "page.js")
"""Scripts of the page, in the order in which they build on each other."""


def page_of(content: Mapping[str, Any]) -> str:
    """Write a report as one HTML file.

    The content stands in it as JSON, and the script puts it on the page as text, never as markup.
    """
    folder = files("moeplan.report")

    def read(name: str) -> str:
        return folder.joinpath(name).read_text(encoding="utf-8")

    return Template(read("page.html")).substitute(
        title=escape(content["title"]),
        headline=_headline(content),
        style=read("page.css"),
        script="\n".join(map(read, SCRIPTS)),
        content=json_in_html(content),
    )


def json_in_html(content: Mapping[str, Any]) -> str:
    r"""Write JSON that no HTML parser takes for markup.

    Examples
    --------
    >>> json_in_html({"name": "</script><b>"})
    '{"name":"\\u003c/script>\\u003cb>"}'
    """
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _headline(content: Mapping[str, Any]) -> str:
    """Write the points that need no script to be read."""
    points = [
        f"<dt>{escape(title)}</dt><dd>{_paragraphs(sentences)}</dd>"
        for title, sentences in content["headline"]
    ]
    return f"<dl>{''.join(points)}</dl>{_paragraphs(content['refused'])}"


def _paragraphs(sentences: Iterable[str]) -> str:
    return "".join(f"<p>{escape(text)}</p>" for text in sentences)
