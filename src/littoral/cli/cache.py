"""`littoral cache`: what a gateway tells again, how surely, and what it remembers."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral.cli.cache_text import explain_lines, stats_lines
from littoral.cli.cache_warming import Lines, warm_lines
from littoral.cli.console import messages, results, show_json
from littoral.errors import InputError, NotFoundError, NotOfferedError
from littoral.node.client import DEFAULT_URL, NodeClient

__all__ = ["cache", "explain", "export", "import_answers", "purge", "stats", "warm"]

ALARM = 1
WARM_S = 600.0

cache = typer.Typer(name="cache", add_completion=False, no_args_is_help=True, rich_markup_mode=None)

UrlOption = Annotated[str, typer.Option(help="The node.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines.")]
AgainOption = Annotated[bool, typer.Option("--again", help="From the first line, whatever was sent before.")]


@cache.callback()
def options() -> None:
    """Answers that a gateway remembers and tells again."""


@cache.command()
def stats(
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 while the alarm is raised.")] = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Show what was told again, how many of it is wrong, what it saved, and which services answer."""
    with contextlib.closing(NodeClient(url)) as client:
        told = _gateway(client)
    if as_json:
        show_json(told)
    else:
        for line in stats_lines(told):
            results.print(line, markup=False, soft_wrap=True)
    if check and told["error"] is not None and told["error"]["state"] == "alarm":
        raise typer.Exit(ALARM)


@cache.command()
def explain(
    question: Annotated[str, typer.Argument(help="As somebody would ask it; `-` reads a request as JSON.")] = "",
    body: Annotated[Path | None, typer.Option(help="A whole request instead, as JSON in a file.")] = None,
    model: Annotated[str, typer.Option(help="Which it would be asked of.")] = "",
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Say what a question would be told now, and why; no service is asked."""
    if bool(question) == (body is not None):
        raise InputError("a question is needed, or `--body FILE`, and not both")
    asked: dict[str, Any] = {"question": question} if body is None and question != "-" else {"request": _request(body)}
    if model:
        asked["model"] = model
    with contextlib.closing(NodeClient(url)) as client:
        told = client.call("POST", "/api/gateway/explain", json.dumps(asked).encode())
    if as_json:
        show_json(told)
        return
    for line in explain_lines(told):
        results.print(line, markup=False, soft_wrap=True)


@cache.command()
def purge(
    id: Annotated[str, typer.Option("--id", help="This one.")] = "",  # noqa: A002
    tag: Annotated[list[str] | None, typer.Option(help="With one of these tags; several times.")] = None,
    model: Annotated[str, typer.Option(help="Of this model.")] = "",
    policy_version: Annotated[str, typer.Option(help="Under this version of the rules.")] = "",
    everything: Annotated[bool, typer.Option("--everything", help="All of them.")] = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Forget remembered answers: those that fit all that is given."""
    given = {"id": id, "tags": tag or [], "model": model, "policy_version": policy_version, "everything": everything}
    asked = {name: value for name, value in given.items() if value}
    if not asked:
        raise InputError("nothing is said to be purged", hint="`--tag pumps`, or `--everything`")
    if everything and len(asked) > 1:
        raise InputError("`--everything` stands alone")
    with contextlib.closing(NodeClient(url)) as client:
        told = client.call("POST", "/api/gateway/purge", json.dumps(asked).encode())
    if as_json:
        show_json(told)
    else:
        results.print(f"{told['purged']:,} purged", markup=False)


@cache.command()
def warm(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Requests and answers, as JSON lines.")],
    tag: Annotated[list[str] | None, typer.Option(help="Of all of them, beside their own; several times.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Lines at most; 0: all.")] = 0,
    again: AgainOption = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Remember the answers of a log, as if they had been asked now; goes on where it was interrupted."""
    _send(log, Lines(log, tags=tuple(tag or ()), limit=limit, is_again=again), url, as_json=as_json)


@cache.command("import")
def import_answers(
    file: FileArgument,
    tag: Annotated[list[str] | None, typer.Option(help="Of all of them, beside their own; several times.")] = None,
    curated: Annotated[bool, typer.Option("--curated", help="All of them win over what is learned.")] = False,
    again: AgainOption = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Bring answers that were exported, or that people wrote; goes on where it was interrupted."""
    lines = Lines(file, tags=tuple(tag or ()), tier="curated" if curated else None, is_again=again)
    _send(file, lines, url, as_json=as_json)


@cache.command()
def export(
    file: FileArgument,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Write every remembered answer to a new file, one a line; `-` writes to standard output."""
    count = -1  # the head is no answer
    with (
        contextlib.closing(NodeClient(url, timeout_s=WARM_S)) as client,
        client.download("/api/gateway/export") as read,
        _written(file) as write,
    ):
        while piece := read(1 << 16):
            write(piece)
            count += piece.count(b"\n")
    if as_json and str(file) != "-":
        show_json({"entries": count})
    else:
        messages.print(f"{count:,} answers", markup=False)


def _gateway(client: NodeClient) -> Any:
    """Raises NotOfferedError for a node that is none."""
    told = client.call("GET", "/api/gateway")
    if told["upstreams"] is None:
        raise NotOfferedError(
            f"node at {client.url} is no gateway", hint="the table `gateway` of its site file makes it one"
        )
    return told


def _send(file: Path, lines: Lines, url: str, *, as_json: bool) -> None:
    with contextlib.closing(NodeClient(url, timeout_s=WARM_S)) as client:
        _gateway(client)
        found = warm_lines(client, lines, lambda text: messages.print(text, markup=False, soft_wrap=True))
    if as_json:
        show_json(found._asdict())
    else:
        line = f"{found.kept:,} kept, {found.refused:,} refused, {found.lines:,} lines of {file}"
        results.print(line, markup=False, soft_wrap=True)


def _request(file: Path | None) -> Any:
    """Of standard input where no file is named."""
    try:
        return json.loads(typer.get_text_stream("stdin").read() if file is None else file.read_bytes())
    except OSError as error:
        raise NotFoundError(f"`{file}`: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{'standard input' if file is None else f'`{file}`'}: no JSON: {error}") from error


@contextlib.contextmanager
def _written(file: Path) -> Iterator[Callable[[bytes], object]]:
    if str(file) == "-":
        stream = typer.get_binary_stream("stdout")
        yield stream.write
        stream.flush()
        return
    if not file.parent.is_dir():
        raise NotFoundError(f"folder `{file.parent}`: is none")
    try:
        with file.open("xb") as opened:
            yield opened.write
    except FileExistsError as error:
        raise InputError(f"`{file}` is there already", hint="name another file, or take it away") from error
