"""Where the steps of a pipeline take what they are given: the step before, one by name, or tensors of several. Pure.

A reference is `STEP`, or `STEP.TENSOR` for one of its tensors; `input` is what the pipeline is given. Only steps that
stand before may be named, so that no circle can be written down.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from littoral.errors import SettingError
from littoral.runtime.edges import EdgeType, TensorsType, Value, tensors_of
from littoral.runtime.step import Step
from littoral.tensors import Array, TensorSpec

__all__ = ["INPUT", "Placed", "Source", "Take", "gathered", "input_type", "joined_type", "step_names", "takes_of"]

INPUT = "input"

Source = str | Sequence[str] | Mapping[str, str] | None


class Placed(NamedTuple):
    """A step and its place. name: for others and for `how`; default the step's own, with a number where it comes again.

    source: a reference; several, whose tensors keep their names; or references by the name that the step knows the
    tensor under. None = the step before, whole.
    """

    step: Step
    name: str | None = None
    source: Source = None


class Take(NamedTuple):
    """giver: index of a step, −1 = the pipeline's input. tensor: one of the giver's, None = all. port: its new name."""

    giver: int
    tensor: str | None = None
    port: str | None = None

    @property
    def is_whole(self) -> bool:
        return self.tensor is None and self.port is None


def step_names(placed: Sequence[Placed]) -> list[str]:
    """Raises SettingError where two steps want the same name, or one that of the input."""
    names: list[str] = []
    for place in placed:
        own = place.name or place.step.name
        count = 1 + sum(own == (earlier.name or earlier.step.name) for earlier in placed[: len(names)])
        if place.name is not None and (place.name in names or place.name == INPUT):
            raise SettingError(f"name `{place.name}` is taken", hint="each step has a name of its own")
        names.append(own if count == 1 else f"{own} {count}")
    return names


def takes_of(index: int, source: Source, names: Sequence[str]) -> tuple[Take, ...]:
    """What the step at `index` takes. Raises SettingError for a reference to what is not before it."""
    known = list(names[:index])
    if source is None:
        return (Take(index - 1),)
    if isinstance(source, str):
        return (_take(source, None, known),)
    if isinstance(source, Mapping):
        return tuple(_take(reference, port, known) for port, reference in source.items())
    return tuple(_take(reference, None, known) for reference in source)


def _take(reference: str, port: str | None, known: Sequence[str]) -> Take:
    if reference in (INPUT, *known):
        name, tensor = reference, None
    else:
        name, _, rest = reference.partition(".")
        tensor = rest or None
    if name == INPUT:
        return Take(-1, tensor, port)
    if name not in known:
        near = difflib.get_close_matches(name, [INPUT, *known], 1, 0.6)
        hint = f"did you mean `{near[0]}`?" if near else f"before it stand: {', '.join([INPUT, *known])}"
        raise SettingError(f"takes from `{name}`, and no step before it is called so", hint=hint)
    return Take(known.index(name), tensor, port)


def input_type(label: str, placed: Sequence[Placed], takes: Sequence[tuple[Take, ...]]) -> EdgeType:
    """What the pipeline must be given for those steps that take its input. Raises SettingError where they disagree."""
    whole: dict[str, EdgeType] = {}
    named: dict[str, TensorSpec] = {}
    for place, taken in zip(placed, takes, strict=True):
        for take in taken:
            if take.giver >= 0:
                continue
            if take.is_whole:
                whole[place.name or place.step.name] = place.step.takes
                continue
            spec = _wanted(place, take)
            if named.setdefault(spec.name, spec) != spec:
                raise SettingError(f"{label}: its input `{spec.name}` is taken as {named[spec.name]} and as {spec}")
    if not whole and not named:
        raise SettingError(f"{label}: no step takes its input")
    (first, kind), *others = whole.items() if whole else [("", TensorsType(tuple(named.values())))]
    for name, other in others:
        if other != kind:
            raise SettingError(f"{label}: of its input step `{first}` takes {kind}, step `{name}` takes {other}")
    return kind


def _wanted(place: Placed, take: Take) -> TensorSpec:
    """A tensor of the input, as the step that takes it wants it."""
    ports = place.step.takes.ports if isinstance(place.step.takes, TensorsType) else ()
    port = take.port or take.tensor or ""
    found = [spec for spec in ports if spec.name == port] or list(ports if len(ports) == 1 else ())
    if not found:
        raise SettingError(f"step `{place.name or place.step.name}` takes {place.step.takes}, and no `{port}`")
    return TensorSpec(take.tensor or port, found[0].dtype, found[0].shape)


def joined_type(takes: Sequence[Take], type_of: Callable[[int], EdgeType], name_of: Callable[[int], str]) -> EdgeType:
    """The type of what a step is given. Raises SettingError for tensors that are not there, or come twice."""
    if len(takes) == 1 and takes[0].is_whole:
        return type_of(takes[0].giver)
    ports: dict[str, TensorSpec] = {}
    for take in takes:
        for spec in _picked(take, type_of(take.giver), name_of(take.giver)):
            if spec.name in ports:
                hint = f'take them under names of their own: from = {{ {spec.name} = "…", other = "…" }}'
                raise SettingError(f"two tensors called `{spec.name}` come together", hint=hint)
            ports[spec.name] = spec
    return TensorsType(tuple(ports.values()))


def _picked(take: Take, kind: EdgeType, giver: str) -> Sequence[TensorSpec]:
    if not isinstance(kind, TensorsType):
        raise SettingError(f"{giver} gives {kind}, of which no single tensors can be taken")
    if take.is_whole:
        return kind.ports
    chosen = [spec for spec in kind.ports if take.tensor in (None, spec.name)]
    if len(chosen) != 1:
        what = f"no `{take.tensor}`" if take.tensor else "not one tensor"
        raise SettingError(f"{giver} gives {kind}, {what}")
    return [TensorSpec(take.port or chosen[0].name, chosen[0].dtype, chosen[0].shape)]


def gathered(takes: Sequence[Take], value_of: Callable[[int], Value]) -> Value:
    """What a step is given, of the values of those it takes from."""
    if len(takes) == 1 and takes[0].is_whole:
        return value_of(takes[0].giver)
    found: dict[str, Array] = {}
    for take in takes:
        tensors = tensors_of(value_of(take.giver))
        if take.is_whole:
            found |= tensors
            continue
        name = take.tensor or next(iter(tensors))
        found[take.port or name] = tensors[name]
    return found
