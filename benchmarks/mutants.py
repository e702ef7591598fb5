"""Do the tests notice? Single-token mutants of the physics and the search, and which survive.

Run: ``.venv/bin/python benchmarks/mutants.py --sample 300 --seed 1 --jobs 2 --state mutants.json``.

A mutant changes one token: a comparison, a sign or operator, a constant, or drops a term. Each is
tried in a copy of the tree, first with the golden figures, then with the tests of its own room that
ran its line (as coverage recorded once), then with all others that did; the first failure kills it.
A mutant that no test notices survives and is printed with its line, as is one whose tests took too
long to tell (an endless loop, or too small a bound): it does not count as killed. The same seed
samples the same mutants, and with ``--state`` a run that was ended goes on where it stopped.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("topology", "costmodel", "optimizer")
LEFT_OUT = (".venv", ".git", "build", "dist", ".mypy_cache", ".ruff_cache", ".hypothesis")

COMPARISONS = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
SWAPPED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//"}
REPLACED = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*"}


Span = Callable[[ast.expr], tuple[int, int]]
"""From an expression to the characters where it starts and ends."""


@dataclass(frozen=True)
class Mutant:
    """One change of one file: characters ``start`` to ``end`` become ``text``."""

    path: str
    line: int
    start: int
    end: int
    text: str
    kind: str

    @property
    def room(self) -> str:
        """The package that it changes."""
        return self.path.partition("/")[0]


def mutants_of(path: Path, name: str) -> Iterator[Mutant]:
    """All mutants of a file, but none of documentation, annotations and imports."""
    source = path.read_text(encoding="utf-8")
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def place(line: int, column: int) -> int:
        text = source[starts[line - 1] : starts[line]].encode()
        return starts[line - 1] + len(text[:column].decode())

    def span(node: ast.expr) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)

    for node in evaluated(ast.parse(source)):
        for start, end, text, kind in changes(node, source, span):
            yield Mutant(name, source.count("\n", 0, start) + 1, start, end, text, kind)


def evaluated(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk over what runs: annotations and docstrings do not."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "type_params"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST):
                yield node
                if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                    yield from evaluated(node)


def changes(node: ast.AST, source: str, span: Span) -> Iterator[tuple[int, int, str, str]]:
    """Start, end, new text and kind of each change of one expression."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        between = span(node.left)[1], span(node.comparators[0])[0]
        old = COMPARISONS[type(node.ops[0])]
        yield *token(source, *between, old), SWAPPED[old], "comparison"
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        left, right = span(node.left), span(node.right)
        old = OPERATORS[type(node.op)]
        yield *token(source, left[1], right[0], old), REPLACED[old], "operator"
        if old in "+-":
            start, end = token(source, left[1], right[0], old)
            closing = source[left[1] : start].count(")"), source[end : right[0]].count("(")
            if closing == (0, 0):  # parentheses around either side stay whole
                yield left[1], right[1], "", "dropped term"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        start, _ = span(node)
        yield start, start + 1, "", "sign"
    elif isinstance(node, ast.Constant) and not isinstance(node.value, bool):
        if isinstance(node.value, int):
            yield *span(node), repr(node.value + 1), "constant"
        elif isinstance(node.value, float):
            yield *span(node), repr(node.value * 1.1 or 1.0), "constant"


def token(source: str, start: int, end: int, old: str) -> tuple[int, int]:
    """Where an operator stands between its sides; comments between them hold none."""
    place = source.index(old, start, end)
    return place, place + len(old)


def mutated(source: str, mutant: Mutant) -> str:
    """Give the changed text of the file."""
    return source[: mutant.start] + mutant.text + source[mutant.end :]


def sample(rooms: list[str], count: int, seed: int) -> list[Mutant]:
    """Draw mutants, equally many of each room."""
    chosen = []
    for room in rooms:
        every = [
            mutant
            for path in sorted((ROOT / room).rglob("*.py"))
            for mutant in mutants_of(path, str(path.relative_to(ROOT)))
        ]
        draw = random.Random(f"{seed} {room}")
        chosen += draw.sample(every, min(len(every), count // len(rooms)))
    return chosen


def is_recorded(data: Path) -> bool:
    """Whether what was recorded is younger than all sources and tests: lines move."""
    sources = [path for room in (*ROOMS, "tests") for path in (ROOT / room).rglob("*.py")]
    newest = max(path.stat().st_mtime for path in sources)
    return data.exists() and data.stat().st_mtime > newest


def record_contexts(data: Path) -> None:
    """Run all tests once, and note which test runs which line."""
    print("recording which test runs which line", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "--cov", "--cov-context=test", "--cov-report="]
    subprocess.run(
        [*command, "-p", "no:cacheprovider", "-n", "auto", "--cov-fail-under=0"],
        cwd=ROOT,
        env=os.environ | {"COVERAGE_FILE": str(data)},
        check=True,
    )


def tests_of(data: Path) -> dict[str, dict[int, list[str]]]:
    """Test files by line by file, as recorded; the tests of the own room first."""
    from coverage import CoverageData

    recorded = CoverageData(str(data))
    recorded.read()
    found: dict[str, dict[int, list[str]]] = {}
    for measured in recorded.measured_files():
        name = str(Path(measured).relative_to(ROOT))
        room = name.partition("/")[0]
        lines = found[name] = {}
        for line, contexts in recorded.contexts_by_lineno(measured).items():
            tests = {context.rpartition("|")[0] for context in contexts} - {""}
            lines[line] = sorted(tests, key=lambda test: (f"{room}/" not in test, test))
    return found


def judge(mutant: Mutant, tree: Path, tests: list[str], seconds: float) -> str:
    """Run the tests on a mutant in a copy of the tree: killed, timeout or survived."""
    path = tree / mutant.path
    source = path.read_text(encoding="utf-8")
    path.write_text(mutated(source, mutant), encoding="utf-8")
    try:
        golden = [test for test in tests if test.startswith("tests/golden/")]
        own = [test for test in tests if f"{mutant.room}/" in test]
        other = [test for test in tests if test not in (*golden, *own)]
        if not own:  # run at import only: all tests of the room may notice
            own = [f"tests/{mutant.room}", mutant.room]
        for group in filter(None, (golden, own, other)):
            verdict = run_tests(group, tree, seconds)
            if verdict != "survived":
                return verdict
        return "survived"
    finally:
        path.write_text(source, encoding="utf-8")


def run_tests(tests: list[str], tree: Path, seconds: float) -> str:
    """Run tests until one fails, or as long as they may take."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "--no-cov"]
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            return "killed" if process.wait(seconds) else "survived"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "timeout"


def judge_all(
    mutants: list[Mutant], options: argparse.Namespace, state: dict[str, str], folder: Path
) -> None:
    """Judge what the state does not hold, side by side, each in a copy of the tree."""
    data = options.contexts
    if not is_recorded(data):
        record_contexts(data)
    by_line = tests_of(data)
    trees: SimpleQueue[Path] = SimpleQueue()
    for place in range(options.jobs):
        tree = folder / str(place)
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT, "__pycache__"))
        trees.put(tree)

    def one(mutant: Mutant) -> None:
        tree = trees.get()
        try:
            nodes = by_line.get(mutant.path, {}).get(mutant.line, [])
            state[key(mutant)] = judge(mutant, tree, nodes, options.seconds)
        finally:
            trees.put(tree)
        if options.state:
            options.state.write_text(json.dumps(state, indent=1), encoding="utf-8")
        print(f"{state[key(mutant)]:9}{described(mutant)}", flush=True)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, [mutant for mutant in mutants if key(mutant) not in state]))


def key(mutant: Mutant) -> str:
    """Name a mutant in the state: with its line's text, so that another source is another one."""
    return json.dumps([asdict(mutant), source_line(mutant)])


def source_line(mutant: Mutant) -> str:
    """Give the line that it changes, as it is."""
    return (ROOT / mutant.path).read_text(encoding="utf-8").splitlines()[mutant.line - 1].strip()


def described(mutant: Mutant) -> str:
    """Say in one line what a mutant does."""
    source = (ROOT / mutant.path).read_text(encoding="utf-8")
    old = " ".join(source[mutant.start : mutant.end].split())
    change = f"{old!r} -> {mutant.text!r}"
    return f"{mutant.path}:{mutant.line}  {mutant.kind}, {change}  |  {source_line(mutant)}"


def report(mutants: list[Mutant], state: dict[str, str]) -> None:
    """Print the score of each room, and what was not killed."""
    print(
        f"\n{'room':12}{'mutants':>9}{'killed':>9}{'survived':>10}{'timeout':>9}{'killed, %':>11}"
    )
    for room in ROOMS:
        verdicts = [state[key(mutant)] for mutant in mutants if mutant.room == room]
        if verdicts:
            killed, alive, late = map(verdicts.count, ("killed", "survived", "timeout"))
            share = 100 * killed / len(verdicts)
            print(f"{room:12}{len(verdicts):9}{killed:9}{alive:10}{late:9}{share:11.1f}")
    for verdict in ("survived", "timeout"):
        print(f"\n{verdict.capitalize()}:")
        for mutant in mutants:
            if state[key(mutant)] == verdict:
                print(f"  {described(mutant)}")


def main() -> None:
    """Sample, judge, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=300, help="mutants, of all rooms together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--room", choices=ROOMS, action="append", help="these rooms only")
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried side by side")
    parser.add_argument("--seconds", type=float, default=900, help="bound on one run of tests")
    parser.add_argument("--state", type=Path, help="file of verdicts, to go on from")
    parser.add_argument(
        "--contexts", type=Path, default=ROOT / "build/contexts", help="which test runs which line"
    )
    options = parser.parse_args()
    options.contexts.parent.mkdir(parents=True, exist_ok=True)
    mutants = sample(options.room or list(ROOMS), options.sample, options.seed)
    known = options.state is not None and options.state.exists()
    state = json.loads(options.state.read_text(encoding="utf-8")) if known else {}
    with TemporaryDirectory() as folder:
        judge_all(mutants, options, state, Path(folder))
    report(mutants, state)


if __name__ == "__main__":
    main()
