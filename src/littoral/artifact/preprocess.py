"""How a model's input is made and its output finished, as its manifest may say under `preprocess`.

The field is an object of anything; these keys of it make a pipeline (docs/reference/model-format.md). Others are for
whoever reads them.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from littoral.errors import ArtifactError

__all__ = ["BUILTIN", "Preprocess", "read_preprocess"]

BUILTIN = "builtin:"
STEPS_MAX = 8

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Preprocess(msgspec.Struct, frozen=True):
    """agent: `builtin:NAME`, or an agent of the site file. config: of a built-in one. take: outputs that go on, default
    all. then: host steps behind, as a site file has them.
    """

    agent: Name
    config: dict[str, Any] = {}
    take: Name | list[Name] | None = None
    then: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=STEPS_MAX)] = []


def read_preprocess(found: Mapping[str, Any] | None) -> Preprocess | None:
    """None where no agent is named. Raises ArtifactError naming the key."""
    if found is None or "agent" not in found:
        return None
    try:
        read = msgspec.convert(dict(found), Preprocess)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"`preprocess`: {error}") from error
    if read.config and not read.agent.startswith(BUILTIN):
        raise ArtifactError(
            f"`preprocess`: `config` goes with an agent `{BUILTIN}NAME`, not with `{read.agent}` of a site file"
        )
    if wrong := [step for step in read.then if "step" not in step]:
        raise ArtifactError(f"`preprocess`: `then` has a step of keys {', '.join(wrong[0]) or 'none'}, needs `step`")
    return read
