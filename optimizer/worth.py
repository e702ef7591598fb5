"""What the throughput of fleets is worth under an objective: one number, the more the better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costmodel.economics import tokens_per_joule, usd_per_m_tokens
from costmodel.inputs import FloatArray, IntArray
from costmodel.results import Configuration
from optimizer.problem import Problem
from optimizer.resources import MICRO
from optimizer.value import (
    charged,
    copies_of,
    output_share,
    request_tokens,
    serves,
    units_of,
    weights_of,
)
from topology.packing import Groups


@dataclass(frozen=True, eq=False)
class Worth:
    """Turns the throughput of fleets into what the objective makes largest, and that into its unit.

    Worth is throughput per GPU, each GPU counted at what the objective charges for it over what it
    charges for a GPU of decode: where all are charged alike, the throughput per GPU as it is. For
    the objective "gpus" the throughput is the rate asked for, and the GPUs are all that serve it.

    Attributes
    ----------
    problem : Problem
        What is made best, served, and on what.
    decode, prefill : tuple of array of int
        Sizes of workers [GPU], and how many, of one replica of each fleet.
    counted : array of float
        Those as charged, in GPUs of decode. [GPU]
    """

    problem: Problem
    decode: Groups
    prefill: Groups
    counted: FloatArray

    def of(self, tok_s_per_gpu: FloatArray, bought: IntArray | None = None) -> FloatArray:
        """Worth of a throughput [token/s per GPU]; 0 without any, or where it misses the rate.

        Parameters
        ----------
        tok_s_per_gpu : array of float
            Shape ``(..., fleets)``.
        bought : array of int, optional
            Replicas that there are, for the objective "gpus"; else as many as the rate takes,
            within the GPU budget. [1]
        """
        if self.problem.objective.rate is None:
            return np.asarray(tok_s_per_gpu * (self.gpus / self.counted))
        needed = self.replicas(tok_s_per_gpu)
        replicas = needed if bought is None else bought
        good = (tok_s_per_gpu > 0.0) & (needed <= replicas)
        if bought is None:
            good &= serves(self.problem, self._throughput(tok_s_per_gpu), self.decode, self.prefill)
        gpus = charged(self.problem, self.decode, self.prefill, replicas)
        return np.where(good, self._demand / gpus, 0.0)

    def replicas(self, tok_s_per_gpu: FloatArray) -> IntArray:
        """Count the copies of each fleet that serve the rate; 1 without a rate or a throughput."""
        return copies_of(self.problem, self._throughput(tok_s_per_gpu))

    def amount(self, worth: FloatArray) -> FloatArray:
        """Say what the objective comes to, in its unit, for a worth that is not 0."""
        if self.problem.objective.name == "throughput":
            return worth
        if self.problem.objective.name == "power":
            return tokens_per_joule(np.asarray(MICRO * self.problem.resources.watts[1]), worth)
        if self.problem.objective.rate is not None:
            return self._demand / worth
        dollars = usd_per_m_tokens(np.asarray(MICRO * self.problem.resources.prices[1]), worth)
        return (
            dollars
            if self.problem.objective.name == "cost"
            else dollars / output_share(self.problem.scenario)
        )

    @property
    def gpus(self) -> IntArray:
        """GPUs of one replica of each fleet [GPU]."""
        return self.decode[0] * self.decode[1] + self.prefill[0] * self.prefill[1]

    def _throughput(self, tok_s_per_gpu: FloatArray) -> FloatArray:
        """Tokens of one replica [token/s]; without end where none is known."""
        return np.where(tok_s_per_gpu > 0.0, tok_s_per_gpu * self.gpus, np.inf)

    @property
    def _demand(self) -> float:
        """Tokens of the requests that are asked for [token/s]; 0 without a rate."""
        return (self.problem.objective.rate or 0.0) * request_tokens(self.problem.scenario)


def worth_of(fleets: Sequence[Configuration], problem: Problem) -> Worth:
    """Look up what fleets are charged; each has room on the clusters."""
    counts = np.array(
        [
            (
                fleet.decode_gpus_per_worker,
                fleet.decode_workers,
                fleet.prefill_gpus_per_worker,
                fleet.prefill_workers,
            )
            for fleet in fleets
        ]
    ).T
    decode, prefill = (counts[0], counts[1]), (counts[2], counts[3])
    counted = weights_of(problem, decode, prefill) / units_of(problem)[1]
    return Worth(problem, decode, prefill, counted)
