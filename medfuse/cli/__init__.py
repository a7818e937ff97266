"""The command line: each command is one arrow of the line, its heavy packages imported only when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer

from medfuse.cli.archives import annotate, convert, index, prepare
from medfuse.cli.checking import check, doctor
from medfuse.cli.cohorts import cohort_lidc, cohort_medmnist3d
from medfuse.cli.deidentifying import deidentify
from medfuse.cli.evaluating import evaluate
from medfuse.cli.explaining import explain
from medfuse.cli.feedback import feedback
from medfuse.cli.learning import compare, models, sync, train, tune
from medfuse.cli.options import FAILED, WRONG_USE
from medfuse.cli.scoring import score
from medfuse.errors import MedfuseError, UsageError

__all__ = ["app", "main"]

_COMMANDS = (
    index,
    convert,
    deidentify,
    annotate,
    check,
    prepare,
    train,
    tune,
    sync,
    compare,
    evaluate,
    score,
    explain,
    feedback,
    models,
    doctor,
)
"""In the order of the help."""

# The error of a wrong command line; typer exports only this one of its kinds.
_COMMAND_LINE_ERROR: type[Any] = typer.BadParameter.__mro__[1]


def app() -> typer.Typer:
    """Return the application with all its commands."""
    made = _group("Learn from medical images and their reports together. Research use only.")
    for command in _COMMANDS:
        made.command()(command)
    cohort = _group("Turn a public data set into a manifest and files.")
    cohort.command("lidc")(cohort_lidc)
    cohort.command("medmnist3d")(cohort_medmnist3d)
    made.add_typer(cohort, name="cohort")
    return made


def _group(text: str) -> typer.Typer:
    return typer.Typer(
        help=text, no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, rich_markup_mode=None
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        By default the process's own; ``--debug`` anywhere shows tracebacks.

    Returns
    -------
    int
        0 done, 1 failed, 2 used wrongly (nothing written), 3 done with refusals.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    try:
        code = app()(arguments, standalone_mode=False, prog_name="medfuse")
        return code if isinstance(code, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except _COMMAND_LINE_ERROR as error:
        _complain(f"command line: {error.format_message()}; expected what 'medfuse --help' shows")
        return WRONG_USE
    except MedfuseError as error:
        if debug:
            raise
        _complain(str(error))
        return WRONG_USE if isinstance(error, UsageError) else FAILED
    except KeyboardInterrupt:
        _complain("interrupted: what was finished is kept")
        return FAILED


def _complain(message: str) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
