"""`littoral index`: pictures of folders into a collection, through a pipeline of the node that gives an embedding."""

import base64
import contextlib
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from littoral.cli.console import messages, progress_bar, results, show_json
from littoral.clock import SYSTEM, Clock
from littoral.errors import InputError, LittoralError, NotFoundError, SetupError, TooLargeError, UnavailableError
from littoral.node.client import DEFAULT_URL, NodeClient

__all__ = ["index"]

SUFFIXES = (".jpg", ".jpeg", ".png")
FILE_BYTES_MAX = 64 << 20
SHOWN_REFUSALS_MAX = 20
SOME_REFUSED = 1
NAMESPACE = uuid.UUID("5f9e3a06-51b8-5f0c-9d25-1f1c4c5b2f6e")


class Picture(NamedTuple):
    """source: the folder's name. path: below it."""

    source: str
    path: str
    file: Path

    @property
    def id(self) -> str:
        """The same for the same file, so that indexing again replaces."""
        return str(uuid.uuid5(NAMESPACE, str(self.file.resolve())))


class Embedded(NamedTuple):
    """A picture's point, or why it has none. model: that made its vector, as the node says."""

    picture: Picture
    point: dict[str, Any] | None
    refusal: str = ""
    model: str = ""


def index(
    sources: Annotated[list[Path], typer.Argument(help="Folders, with all below them, and files.")],
    collection: Annotated[str, typer.Option("--collection", "-c", help="Where the points go.")],
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="Gives one embedding for a picture.")],
    url: Annotated[str, typer.Option(help="The node.")] = DEFAULT_URL,
    payload: Annotated[list[str] | None, typer.Option(help="KEY=TEXT, for every point beside source and path.")] = None,
    thumbnails: Annotated[bool, typer.Option("--thumbnails", help="Small pictures in the payload, for pages.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=256, help="Points in one write.")] = 32,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Requests at a time.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Send pictures through a pipeline of a running node and index what it gives. Exit code 1: some were refused."""
    pictures = pictures_of(sources)
    extra = parse_payload(payload or [])
    thumbnail = _thumbnail() if thumbnails else None
    with contextlib.closing(NodeClient(url)) as client:
        client.collection("GET", collection)
        with progress_bar(f"indexing into {collection}") as tell:
            report = index_pictures(
                client, pictures, collection, pipeline, extra, thumbnail, batch=batch, jobs=jobs, tell=tell
            )
    if as_json:
        show_json(report)
    else:
        results.print(
            f"{report['indexed']} of {len(pictures)} pictures indexed in {report['seconds']:.1f} s, "
            f"{report['pictures_per_s']:.1f} pictures/s"
        )
        _show_refused(report["refused"])
    if report["refused"]:
        raise typer.Exit(SOME_REFUSED)


def pictures_of(sources: Sequence[Path]) -> list[Picture]:
    """Pictures of the folders in the order of their paths, and the files as they are. Raises InputError for none."""
    found = []
    for source in sources:
        if source.is_dir():
            files = [f for f in sorted(source.rglob("*")) if f.suffix.lower() in SUFFIXES and f.is_file()]
            name = source.resolve().name
            found += [Picture(name, str(file.relative_to(source)), file) for file in files]
        elif source.is_file():
            found.append(Picture(source.name, source.name, source))
        else:
            raise InputError(f"`{source}` is neither a folder nor a file")
    if not found:
        raise InputError("no picture found", hint=f"in folders, pictures end in {', '.join(SUFFIXES)}")
    return found


def parse_payload(options: Sequence[str]) -> dict[str, str]:
    """`KEY=TEXT` options. Raises InputError."""
    pairs = [option.partition("=") for option in options]
    for option, (key, equals, _) in zip(options, pairs, strict=True):
        if not key or not equals:
            raise InputError(f"`--payload {option}` is not KEY=TEXT")
    return {key: text for key, _, text in pairs}


def index_pictures(
    client: NodeClient,
    pictures: Sequence[Picture],
    collection: str,
    pipeline: str,
    payload: dict[str, str],
    thumbnail: Callable[[bytes], str] | None,
    *,
    batch: int,
    jobs: int,
    tell: Callable[[str, int, int], None],
    clock: Clock = SYSTEM,
) -> dict[str, Any]:
    """The report; a written contract. A refused picture is noted; a node or pipeline that is not there is raised."""

    def embed(picture: Picture) -> Embedded:
        return embedded(client, picture, pipeline, payload, thumbnail)

    def write() -> int:
        points = [one.point for one in waiting]
        client.collection("PUT", collection, "/points?wait=true", {"points": points}, model=waiting[0].model)
        waiting.clear()
        return len(points)

    began, refused, count = clock.monotonic(), [], 0
    waiting: list[Embedded] = []
    for done, result in enumerate(in_parallel(embed, pictures, jobs, client.close), 1):
        if result.point is None:
            refused.append({"path": str(result.picture.file), "reason": result.refusal})
        else:
            if waiting and result.model != waiting[0].model:  # another version took over: its vectors go by themselves
                count += write()
            waiting.append(result)
        if waiting and (len(waiting) == batch or done == len(pictures)):
            count += write()
        tell(f"{done / max(1e-9, clock.monotonic() - began):.0f} pictures/s", done, len(pictures))
    seconds = clock.monotonic() - began
    rate = count / max(1e-9, seconds)
    return {"indexed": count, "refused": refused, "seconds": seconds, "pictures_per_s": rate}


def embedded(
    client: NodeClient,
    picture: Picture,
    pipeline: str,
    payload: dict[str, str],
    thumbnail: Callable[[bytes], str] | None,
) -> Embedded:
    """Raises UnavailableError and NotFoundError, which are not the picture's fault."""
    try:
        data = _read(picture.file)
        answer = client.run_pipeline(pipeline, data)
        vector = vector_of(answer.result)
        shown = {"thumbnail": thumbnail(data)} if thumbnail else {}
    except (UnavailableError, NotFoundError):
        raise
    except (LittoralError, OSError) as error:
        return Embedded(picture, None, str(error))
    about = payload | {"source": picture.source, "path": picture.path} | shown
    return Embedded(picture, {"id": picture.id, "vector": vector, "payload": about}, model=answer.model)


def vector_of(result: Any) -> list[float]:
    """The one tensor of a pipeline's answer, flat. Raises InputError where it is something else."""
    outputs = result.get("outputs") if isinstance(result, dict) else None
    if not isinstance(outputs, dict) or len(outputs) != 1:
        raise InputError("the pipeline does not give one tensor", hint="name one that ends before its search")
    (tensor,) = outputs.values()
    if not isinstance(tensor, dict) or "data" not in tensor:
        raise InputError("the pipeline does not give a tensor")
    try:
        numbers: list[float] = np.asarray(tensor["data"], np.float64).ravel().tolist()
    except (TypeError, ValueError) as error:
        raise InputError("the pipeline does not give numbers") from error
    return numbers


def in_parallel(
    work: Callable[[Picture], Embedded], items: Sequence[Picture], jobs: int, leave: Callable[[], None]
) -> Iterator[Embedded]:
    """Results as they come, at most `2 * jobs` ahead of the caller. leave: called by each thread at its end.

    Raises what `work` raises; then, and when the caller stops early, the threads end after the item at hand.
    """
    waiting: queue.SimpleQueue[Picture] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    done: queue.SimpleQueue[Embedded | Exception] = queue.SimpleQueue()
    room = threading.Semaphore(2 * jobs)
    is_over = threading.Event()

    def serve() -> None:
        try:
            while room.acquire() and not is_over.is_set():
                done.put(work(waiting.get_nowait()))
        except queue.Empty:
            room.release()  # the next thread finds nothing either
        except Exception as error:  # noqa: BLE001 (the thread's outermost boundary: the caller raises it)
            done.put(error)
        finally:
            leave()

    threads = [threading.Thread(target=serve, name=f"littoral-index-{i}", daemon=True) for i in range(jobs)]
    for thread in threads:
        thread.start()
    try:
        for _ in items:
            result = done.get()
            room.release()
            if isinstance(result, Exception):
                raise result
            yield result
    finally:
        is_over.set()
        room.release(jobs)
        for thread in threads:
            thread.join()


def _read(file: Path) -> bytes:
    if (size := file.stat().st_size) > FILE_BYTES_MAX:
        raise TooLargeError(f"{size} bytes, at most {FILE_BYTES_MAX}")
    return file.read_bytes()


def _thumbnail() -> Callable[[bytes], str]:
    """A picture as a small JPEG in a data URL. Raises SetupError without Pillow."""
    if find_spec("PIL") is None:
        raise SetupError("`--thumbnails` needs the package `pillow`", hint='install `pip install "littoral[demo]"`')
    from littoral.demo.pictures import Picture as Shown
    from littoral.demo.pictures import thumbnail

    def made(data: bytes) -> str:
        small = thumbnail(Shown("", 0.0, data))
        return f"data:image/jpeg;base64,{base64.b64encode(small).decode()}"

    return made


def _show_refused(refused: Sequence[dict[str, str]]) -> None:
    for entry in refused[:SHOWN_REFUSALS_MAX]:
        messages.print(f"refused: {entry['path']}: {entry['reason']}", markup=False, soft_wrap=True)
    if (more := len(refused) - SHOWN_REFUSALS_MAX) > 0:
        messages.print(f"refused: {more} more, see `--json`")
