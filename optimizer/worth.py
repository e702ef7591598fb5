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
from optimizer.value import output_share, replicas_for, request_tokens, units_of, weights_of


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
    gpus : array of float
        Of one replica of each fleet. [GPU]
    counted : array of float
        Those as charged, in GPUs of decode. [GPU]
    """

    problem: Problem
    gpus: FloatArray
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
        serves = (tok_s_per_gpu > 0.0) & (needed <= replicas)
        if bought is None:
            serves &= needed * self.gpus <= self.problem.budget
        return np.where(serves, self._demand / (replicas * self.gpus), 0.0)

    def replicas(self, tok_s_per_gpu: FloatArray) -> IntArray:
        """Count the copies of each fleet that serve the rate; 1 without a rate or a throughput."""
        if self.problem.objective.rate is None:
            return np.ones(np.shape(tok_s_per_gpu), dtype=np.int64)
        each = np.where(tok_s_per_gpu > 0.0, tok_s_per_gpu * self.gpus, np.inf)
        return replicas_for(self.problem.objective.rate, each, self.problem.scenario)

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
    def _demand(self) -> float:
        """Tokens of the requests that are asked for [token/s]; 0 without a rate."""
        return (self.problem.objective.rate or 0.0) * request_tokens(self.problem.scenario)


def worth_of(fleets: Sequence[Configuration], problem: Problem) -> Worth:
    """Look up what fleets are charged; each has room on the clusters."""
    groups = [
        (
            (fleet.decode_gpus_per_worker, fleet.decode_workers),
            (fleet.prefill_gpus_per_worker, fleet.prefill_workers),
        )
        for fleet in fleets
    ]
    weight = weights_of(problem, groups)
    gpus = np.array([float(fleet.gpus) for fleet in fleets])
    return Worth(problem, gpus, weight / units_of(problem)[1])
