"""Names and paths that a user gives, each held to what its field can take."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from presets.errors import shown

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
DEPLOYMENT = re.compile(r"[a-z]([-a-z0-9]{0,43}[a-z0-9])?", re.ASCII)
SUBDOMAIN = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
)
IMAGE = re.compile(
    r"(?=.{1,255}$)[a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]{1,5})?(/[a-zA-Z0-9._-]+)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
LABEL_KEY = re.compile(
    r"(?=.{1,317}$)([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
SERVED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}", re.ASCII)
LONGEST_PATH = 1024


def _matching(pattern: re.Pattern[str], valid: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"{shown(text)} is not valid; give {valid}")
        return text

    return AfterValidator(check)


def _printable(text: str) -> str:
    """Refuse what a terminal or a line of a file would obey."""
    if not text.strip() or not text.isprintable():
        raise ValueError(
            f"{shown(text)} is not valid; give text that is not blank, without control characters"
        )
    return text


def _model_path(text: str) -> str:
    """Refuse a path that could be taken for an option, or leaves the place it names."""
    _printable(text)
    valid = "an absolute path, or a name at Hugging Face such as deepseek-ai/DeepSeek-R1-0528"
    odd = text.startswith("-") or text != text.strip() or ".." in text.split("/")
    if odd or len(text) > LONGEST_PATH or not (text.startswith("/") or SERVED.fullmatch(text)):
        raise ValueError(f"{shown(text)} is not valid; give {valid}")
    return text


def named_after(text: str) -> str:
    """Make a name of text that may hold anything, such as one from a config.json.

    Examples
    --------
    >>> named_after("deepseek-ai/DeepSeek-R1-0528"), named_after("<b>../my model</b>")
    ('deepseek-ai/DeepSeek-R1-0528', 'b-my-model-b')
    """
    words = re.findall(r"[A-Za-z0-9][A-Za-z0-9._-]*", text)
    kept = SERVED.fullmatch(text) and ".." not in text
    return text if kept else "-".join(words)[:100] or "model"


Plain = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_printable)]
ModelPath = Annotated[str, AfterValidator(_model_path)]
DeploymentName = Annotated[
    str,
    _matching(DEPLOYMENT, "lower-case letters, digits and hyphens, a letter first, at most 45"),
]
Namespace = Annotated[
    str, _matching(LABEL, "a Kubernetes namespace: lower-case letters, digits and hyphens")
]
ClaimName = Annotated[
    str, _matching(SUBDOMAIN, "a Kubernetes name: lower-case letters, digits, hyphens and dots")
]
Image = Annotated[
    str, _matching(IMAGE, "a container image, such as nvcr.io/nvidia/ai-dynamo/runtime:1.6.1")
]
LabelKey = Annotated[
    str, _matching(LABEL_KEY, "the key of a label, such as nvidia.com/gpu.product")
]
LabelValue = Annotated[
    str,
    _matching(LABEL_VALUE, "the value of a label: letters, digits, '-', '_' and '.', at most 63"),
]
ServedName = Annotated[
    str, _matching(SERVED, "letters, digits, '.', '_', '-' and '/', at most 200")
]
