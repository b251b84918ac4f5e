"""`littoral agent`: an agent of one's own, from a new crate to what a node says of it."""

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral.authoring.build import BuiltAgent, build_agent, run_cargo_tests
from littoral.authoring.cases import Case, CaseResult, read_cases, run_cases
from littoral.authoring.check import ANY_SIZE, CheckedAgent, check_agent, needed_grants
from littoral.authoring.scaffold import Port, new_agent
from littoral.cli.console import bytes_text, messages, results, show_json
from littoral.errors import InputError, NotFoundError
from littoral.runtime.abi import Ports
from littoral.runtime.agents import Agent
from littoral.runtime.foreign_code import STRANGERS, code_setting
from littoral.runtime.instance import load
from littoral.runtime.wasi_nn import NeuralModels, OfferedModel

__all__ = ["agent", "build", "check", "new", "run_tests"]

agent = typer.Typer(name="agent", add_completion=False, no_args_is_help=True, rich_markup_mode=None)

FolderArgument = Annotated[Path, typer.Argument(help="Folder of the crate.")]
WasiOption = Annotated[bool, typer.Option("--wasi", help="For wasm32-wasip1 instead of wasm32-unknown-unknown.")]
ModelOption = Annotated[
    list[str] | None, typer.Option(help="A compiled model for `wasi_ephemeral_nn`: NAME=FILE; several times.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Report as JSON.")]


@agent.callback()
def options() -> None:
    """Make, build, test and check an agent of one's own."""


@agent.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the agent and its crate.")],
    into: Annotated[Path | None, typer.Option(help="Folder to make; default: the name.")] = None,
    takes: Annotated[str, typer.Option(help="What it takes: bytes or tensors.")] = "bytes",
    gives: Annotated[str, typer.Option(help="What it gives: bytes or tensors.")] = "bytes",
) -> None:
    """Make a Rust crate that builds, passes its tests and runs as it is."""
    folder = into or Path(name)
    new_agent(name, folder, takes=_port("--takes", takes), gives=_port("--gives", gives))
    results.print(f"{folder}  {takes} in, {gives} out", markup=False)
    results.print(f"  next    littoral agent test {folder}", markup=False)


@agent.command()
def build(
    folder: FolderArgument = Path(),
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; default: in the crate.")] = None,
    wasi: WasiOption = False,
    locked: Annotated[bool, typer.Option("--locked", help="With Cargo.lock as it is, or not at all.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build the agent and check what it imports and exports."""
    built = build_agent(folder, output, wasi=wasi, locked=locked)
    if as_json:
        show_json(_report(built))
        return
    results.print(f"{built.path}  {bytes_text(built.bytes)}", markup=False)
    _show_ports(built.manifest.input, built.manifest.output)
    _show_much_code(built.code_bytes)
    results.print(f"  grants  {_needed(built.grants)}", markup=False)
    results.print(f"  built   {built.compiler['rustc']}, std from {built.compiler['std']}", markup=False)
    results.print(f"  sha256  {built.sha256}", markup=False)


@agent.command("test")
def run_tests(
    folder: FolderArgument = Path(),
    cases: Annotated[
        Path | None, typer.Option(help="A .json or .py file, or a folder of them; default: tests/cases.")
    ] = None,
    model: ModelOption = None,
    wasi: WasiOption = False,
    native: Annotated[bool, typer.Option(help="Run `cargo test` first.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Run the native tests, then the cases in the sandbox. Exit code 1 where one fails."""
    native_passed = run_cargo_tests(folder, wasi=wasi) if native else None
    built = build_agent(folder, wasi=wasi)
    found = read_cases(cases or folder / "tests" / "cases")
    with _models(model or []) as models:
        outcome = list(run_cases(found, functools.partial(_start, built.path, models)))
    if as_json:
        rows = [{"name": result.name, "ok": not result.why, "why": result.why, "ms": result.ms} for result in outcome]
        show_json({"native": native_passed, "cases": rows, "sha256": built.sha256})
    else:
        _show_outcome(native_passed, outcome)
    if native_passed is False or any(result.why for result in outcome):
        raise typer.Exit(1)


@agent.command()
def check(
    file: Annotated[Path, typer.Argument(help="The agent, a .wasm file.")],
    config: Annotated[str | None, typer.Option(help="Its configuration: JSON, or a file of it.")] = None,
    file_beside: Annotated[
        list[str] | None, typer.Option("--file", help="A file that `init` gets: NAME=FILE; several times.")
    ] = None,
    grant: Annotated[
        list[str] | None, typer.Option(help="An import that it may have; default: all it needs. Several times.")
    ] = None,
    model: ModelOption = None,
    memory_mb: Annotated[int | None, typer.Option(help="Memory cap; default: the agent's own.")] = None,
    deadline_ms: Annotated[int | None, typer.Option(help="Of one call; default: the agent's own.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Start the agent as a node does, and tell what a node knows of it then."""
    with _models(model or []) as models:
        checked = check_agent(
            file,
            _config(config),
            grants=grant,
            models=models,
            files={name: Path(path) for name, path in _pairs("--file", file_beside or [])},
            memory_bytes=None if memory_mb is None else memory_mb << 20,
            deadline_ms=deadline_ms,
        )
    if as_json:
        show_json(_check_report(checked))
        return
    results.print(f"{file}  {checked.name} {checked.version}, {bytes_text(checked.bytes)}", markup=False)
    _show_ports(checked.takes, checked.gives)
    used, most = bytes_text(checked.memory_bytes), bytes_text(checked.memory_bytes_max)
    results.print(f"  imports {', '.join(checked.imports) or 'nothing'}", markup=False)
    _show_much_code(checked.code_bytes)
    results.print(f"  grants  {_needed(checked.grants)}", markup=False)
    results.print(f"  limits  {used} of {most} of memory, {checked.deadline_ms} ms a call", markup=False)
    results.print(f"  starts  in {checked.ms:.1f} ms", markup=False)
    results.print(f"  sha256  {checked.sha256}", markup=False)


def _start(path: Path, models: NeuralModels, case: Case) -> Agent:
    grants = needed_grants(path)
    return Agent.open(path, case.config, files=case.files, grants=grants, models=models, bounds=ANY_SIZE)


@contextlib.contextmanager
def _models(options: list[str]) -> Iterator[NeuralModels]:
    """Sessions by name, closed at the end. Raises InputError, and what `load` raises."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name, path in _pairs("--model", options):
            session = stack.enter_context(load(path))
            found[name] = OfferedModel(session.digest, session.another)
        yield found


def _pairs(flag: str, options: list[str]) -> list[tuple[str, str]]:
    """NAME=FILE options. Raises InputError naming the option."""
    found = []
    for option in options:
        name, _, path = option.partition("=")
        if not (name and path):
            raise InputError(f"`{flag} {option}` is not NAME=FILE")
        found.append((name, path))
    return found


def _config(option: str | None) -> dict[str, Any] | None:
    """JSON, or a file of it. Raises InputError, NotFoundError."""
    if option is None:
        return None
    text = option
    if not option.lstrip().startswith("{"):
        try:
            text = Path(option).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NotFoundError(f"`--config {option}`: {error}") from error
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"`--config`: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"`--config`: a {type(found).__name__}, expected an object")
    return found


def _port(option: str, value: str) -> Port:
    if value not in ("bytes", "tensors"):
        raise InputError(f"`{option}` is `{value}`, must be bytes or tensors")
    return "bytes" if value == "bytes" else "tensors"


def _show_ports(takes: Ports, gives: Ports) -> None:
    results.print(f"  takes   {_ports_text(takes)}", markup=False)
    results.print(f"  gives   {_ports_text(gives)}", markup=False)


def _show_much_code(code_bytes: int) -> None:
    if code_bytes > STRANGERS.code_bytes:
        results.print(f"  code    {bytes_text(code_bytes)}, needs `{code_setting(code_bytes)}`", markup=False)


def _ports_text(ports: Ports) -> str:
    return ports if isinstance(ports, str) else ", ".join(map(str, ports))


def _ports_report(ports: Ports) -> Any:
    if isinstance(ports, str):
        return ports
    return [{"name": port.name, "dtype": port.dtype, "shape": list(port.shape)} for port in ports]


def _needed(grants: tuple[str, ...]) -> str:
    asked = [grant for grant in grants if not grant.startswith("littoral.")]
    return f"needs {', '.join(asked)}" if asked else "needs none"


def _show_outcome(native_passed: bool | None, outcome: list[CaseResult]) -> None:
    if native_passed is not None:
        results.print(f"native  {'pass' if native_passed else 'FAIL'}", markup=False)
    for result in outcome:
        results.print(f"{'FAIL' if result.why else 'pass'}  {result.name}  {result.ms:.2f} ms", markup=False)
        if result.why:
            messages.print(f"  {result.name}: {result.why}", markup=False, soft_wrap=True)
    failed = sum(bool(result.why) for result in outcome)
    results.print(f"{len(outcome) - failed} of {len(outcome)} cases hold in the sandbox", markup=False)


def _report(built: BuiltAgent) -> dict[str, Any]:
    """A written contract, as is the next."""
    return {
        "path": str(built.path),
        "name": built.manifest.name,
        "version": built.manifest.version,
        "sha256": built.sha256,
        "bytes": built.bytes,
        "takes": _ports_report(built.manifest.input),
        "gives": _ports_report(built.manifest.output),
        "grants": [grant for grant in built.grants if not grant.startswith("littoral.")],
        "compiler": dict(built.compiler),
    }


def _check_report(checked: CheckedAgent) -> dict[str, Any]:
    return {
        "path": str(checked.path),
        "name": checked.name,
        "version": checked.version,
        "sha256": checked.sha256,
        "bytes": checked.bytes,
        "takes": _ports_report(checked.takes),
        "gives": _ports_report(checked.gives),
        "grants": list(checked.grants),
        "imports": list(checked.imports),
        "memory_bytes": checked.memory_bytes,
        "memory_bytes_max": checked.memory_bytes_max,
        "deadline_ms": checked.deadline_ms,
        "is_configurable": checked.is_configurable,
        "start_ms": checked.ms,
    }
