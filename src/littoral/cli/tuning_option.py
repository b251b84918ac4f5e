"""`--tuning`, of the verbs that compile."""

from typing import Annotated

import typer

from littoral.compiler.plan import RULES, Tuning, open_tuning

__all__ = ["TuningOption", "tuning_from"]

TuningOption = Annotated[
    str | None, typer.Option(help="Table of kernels' forms from `littoral tune`, or none; default: the packaged one.")
]


def tuning_from(option: str | None) -> Tuning:
    """The table; `none` is the compiler's own rules. Raises as `open_tuning`."""
    return RULES if option == "none" else open_tuning(option)
