"""What changes from one plan of a fleet to the next."""

from __future__ import annotations

from typing import Literal

from presets.record import Record


class Move(Record):
    """A worker that is started, or stopped.

    Attributes
    ----------
    action : {"start", "stop", "lose"}
        Of those that were there "lose" names those that stood on what is lost.
    role : {"prefill", "decode", "both"}
    serves : tuple of str
        Names of its tiers.
    sku : str
    domains : tuple of int
        Numbers of its domains, from 1.
    gpu_numbers : tuple of int
    """

    action: Literal["start", "stop", "lose"]
    role: Literal["prefill", "decode", "both"]
    serves: tuple[str, ...]
    sku: str
    domains: tuple[int, ...]
    gpu_numbers: tuple[int, ...]


class UnservedDemand(Record):
    """What of the demand would have to go, with all else served.

    Attributes
    ----------
    tiers : tuple of str
    served_share : float
        Share of their demand that can be served, to a hundredth; 0 where none. [1]
    unserved_requests_per_s : float
        The rest, of all of them. [1/s]
    """

    tiers: tuple[str, ...]
    served_share: float
    unserved_requests_per_s: float


class Replan(Record):
    """What changes from the plan before.

    Attributes
    ----------
    lost_gpus : int
        GPUs that are lost, those without a worker included. [GPU]
    kept, started, stopped, lost : int
        Workers. [1]
    started_at_least : int or None
        No plan in which workers that stay keep shape and slots starts fewer; None where that is not
        known. [1]
    moves : tuple of Move
    unserved : tuple of UnservedDemand
        Where there is no plan: each of them would do.
    """

    lost_gpus: int
    kept: int
    started: int
    stopped: int
    lost: int
    started_at_least: int | None
    moves: tuple[Move, ...]
    unserved: tuple[UnservedDemand, ...]
