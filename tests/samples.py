"""What the tests of the command and of recipes share: a run of the command, and configurations."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from costmodel.results import Configuration
from moeplan.answers.reasons import explain_infeasibility, lost_by
from moeplan.cli import main
from optimizer import Answer
from presets import Hardware
from presets.facts import Alternative

USUAL: dict[str, Any] = {
    "prefill_workers": 1,
    "prefill_gpus_per_worker": 4,
    "decode_workers": 1,
    "decode_gpus_per_worker": 8,
    "decode_ep": 8,
    "decode_attention": "dp",
    "max_batch": 16,
    "mtp_depth": 1,
    "eplb_slots": 0,
    "concurrency": 100,
}
"""A deployment that fits every machine."""

MEASURED = USUAL | {"decode_workers": 2, "max_batch": 64, "mtp_depth": 2, "concurrency": 1214}
"""A deployment that was measured on both machines' engines."""


def changed(**values: Any) -> Configuration:
    """Change the usual deployment in a few of its values."""
    return Configuration(**USUAL | values)


@dataclass(frozen=True)
class Run:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        def refuse(name: str) -> float:
            raise AssertionError(f"{name} is not JSON")

        return json.loads(self.out, parse_constant=refuse)


Command = Callable[..., Run]


def runner(capsys: pytest.CaptureFixture[str]) -> Command:
    """Give what runs ``moeplan`` in this process with the given arguments."""

    def run(*arguments: str) -> Run:
        capsys.readouterr()
        status = main(arguments)
        printed = capsys.readouterr()
        return Run(status, printed.out, printed.err)

    return run


def nics_assumed(machine: Hardware) -> Hardware:
    """Take the rate of a machine's NICs as assumed, 25 or 100 GB/s by other sources."""
    others = [
        Alternative(value=rate, source="another", date=date(2026, 11, 28), note="other NICs")
        for rate in (25e9, 100e9)
    ]
    said = {"kind": "assumed", "alternatives": tuple(others)}
    rate = machine.scale_out_rate.model_copy(update=said)
    return machine.model_copy(update={"scale_out_rate": rate})


def reason_of(answer: Answer) -> str:
    """Why a search found nothing; empty where it found something."""
    return explain_infeasibility(answer.infeasibility) if answer.infeasibility else ""


def losses(answer: Answer) -> list[str]:
    """Why each runner-up lost."""
    assert answer.winner is not None
    scenario = answer.problem.scenario
    return [lost_by(answer.winner, other, scenario) for other in answer.runners_up]
