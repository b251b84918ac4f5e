"""Versions that collections hold the embeddings of, opened beside those that serve, before pipelines are bound."""

import contextlib
from collections.abc import Callable

from littoral.errors import LittoralError
from littoral.node.binding import Guests
from littoral.node.declared_models import file_of, read_version
from littoral.node.model_files import find_versions
from littoral.node.model_opening import open_version
from littoral.node.node import ServedVersion
from littoral.node.site import Site
from littoral.vectors.model_version import ModelVersion

__all__ = ["open_beside", "pin_needed"]

Say = Callable[[str], object]


def pin_needed(site: Site, guests: Guests, say: Say) -> None:
    """For collections whose model is there in another version than the one that serves.

    Where it is not there, a pipeline that feeds the collection says so when it is bound.
    """
    for model in list(guests.vector_models.needed(guests.models)):
        if (version := _found(site, guests, model)) is not None:
            guests.vector_models.pin(model, version)
            say(f"model `{model.name}`: version {version.number} is open for collections that hold its embeddings")


def open_beside(site: Site, guests: Guests, model: ModelVersion, say: Say = lambda _: None) -> ServedVersion:
    """A version by its number, not yet warm. Raises NotFoundError and what opening it raises."""
    number, file = file_of(site, (model.name, model.number))
    return open_version(model.name, number, file, site.models[model.name], guests.pooling, say)


def _found(site: Site, guests: Guests, model: ModelVersion) -> ServedVersion | None:
    """By its digest: first where it was, then in any version that is there."""
    try:
        numbers = sorted(find_versions(site.path_of(site.models[model.name].path)), key=lambda n: n != model.number)
    except LittoralError:
        return None
    for number in numbers:
        with contextlib.suppress(LittoralError):
            if read_version(site, (model.name, number)).is_same(model):
                return open_beside(site, guests, ModelVersion(model.name, model.digest, number))
    return None
