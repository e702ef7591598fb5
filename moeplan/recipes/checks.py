"""The named checks of a recipe: what each demands, and how they are run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from moeplan.recipes.parsed import Finding, Parsed, Setting, Severity, Unreadable

Status = Literal["passed", "failed", "warned", "skipped"]
Breaches = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    name, rule : str
        What it is called, and what it demands.
    run : callable or None
        Gives field and problem of each breach; None where reading tells the breaches.
    warns : bool
        Whether a breach is told without failing the recipe.
    two_pools : bool
        Whether it compares roles, and means nothing in one pool.
    """

    name: str
    rule: str
    run: Callable[[Parsed], Breaches] | None = None
    warns: bool = False
    two_pools: bool = False


@dataclass(frozen=True)
class Result:
    """How one check ended.

    Attributes
    ----------
    check : Check
    status : {"passed", "failed", "warned", "skipped"}
        Skipped where what it judges could not be read.
    findings : tuple of Finding
    """

    check: Check
    status: Status
    findings: tuple[Finding, ...]


def run_checks(checks: Iterable[Check], parsed: Parsed) -> list[Result]:
    """Run checks on what was read; in one pool those that mean something there."""
    asked = [check for check in checks if not (check.two_pools and parsed.one_pool)]
    return [_result(check, parsed) for check in asked]


def failures(results: Iterable[Result]) -> list[Finding]:
    """Pick the findings that a recipe cannot be written or run with."""
    return [
        finding for result in results for finding in result.findings if finding.severity == "error"
    ]


def differs(setting: Setting, wanted: object, why: str) -> Breaches:
    """Tell a setting that is not what it must be."""
    if setting.value != wanted:
        yield setting.field, f"is {_shown(setting.value)}; it must be {_shown(wanted)}, {why}"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _result(check: Check, parsed: Parsed) -> Result:
    if check.run is None:
        found = [finding for finding in parsed.findings if finding.check == check.name]
    else:
        severity: Severity = "warning" if check.warns else "error"
        try:
            found = [Finding(check.name, *breach, severity) for breach in check.run(parsed)]
        except Unreadable:
            return Result(check, "skipped", ())
    status: Status = "passed"
    if found:
        status = "failed" if any(each.severity == "error" for each in found) else "warned"
    return Result(check, status, tuple(found))
