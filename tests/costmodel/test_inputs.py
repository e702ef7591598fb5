import numpy as np

from costmodel.inputs import MachineArrays, PathArrays, stack, take


def test_stack_then_take_gives_the_items_back(inside: PathArrays, across: PathArrays) -> None:
    joined = stack([inside, across])
    assert joined.domains.tolist() == [1, 2]
    assert take(joined, 1) == across
    assert take(joined, np.array([1, 0])).domains.tolist() == [2, 1]


def test_take_leaves_what_all_share(machine: MachineArrays) -> None:
    assert take(machine, np.array([0, 0, 0])) == machine
