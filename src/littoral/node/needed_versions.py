"""Versions that collections hold the embeddings of, opened beside those that serve."""

from collections.abc import Callable

from littoral.errors import NotFoundError
from littoral.node.binding import Guests
from littoral.node.declared_models import file_of, number_of
from littoral.node.machine_code import make_machine_code
from littoral.node.model_opening import open_version, warm
from littoral.node.node import Instances, ServedVersion
from littoral.node.site import Site
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.thread_priority import BESIDE_NICE
from littoral.vectors.model_version import ModelVersion

__all__ = ["open_warm", "pin_needed"]

Say = Callable[[str], object]


def pin_needed(site: Site, guests: Guests, say: Say) -> None:
    """For collections whose model is there in another version than the one that serves.

    Where it is not there, a pipeline that feeds the collection says so when it is bound.
    """
    for model in list(guests.vector_models.needed(guests.models)):
        if (number := number_of(site, model)) is not None:
            _, file = file_of(site, (model.name, number))
            version = open_version(model.name, number, file, site.models[model.name], guests.pooling, say)
            guests.vector_models.pin(model, version)
            say(f"model `{model.name}`: version {number} is open for collections that hold its embeddings")


async def open_warm(site: Site, guests: Guests, model: ModelVersion) -> ServedVersion:
    """A version that was run once. Raises NotFoundError where it is not there, and what opening it raises."""
    if model.name not in site.models or (number := number_of(site, model)) is None:
        raise NotFoundError(
            f"model `{model}` is not there any more", hint="put its file back, or drop the generation that needs it"
        )
    table = site.models[model.name]
    _, file = file_of(site, (model.name, number))
    await make_machine_code(file, guests.pooling.signers)
    threads = GuestThreads(1, name="beside", nice=BESIDE_NICE)  # takes no core from requests
    try:
        version = await threads.run(open_version, model.name, number, file, table, guests.pooling)
        try:
            await warm(version, Instances(table.instances.min, table.instances.max), threads)
        except BaseException:
            version.pool.close()
            raise
        return version
    finally:
        threads.close(0.0)
