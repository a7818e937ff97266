"""The command line: each command is one arrow of the line, its heavy packages imported only when it runs."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import medfuse
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

_COMMANDS: dict[Callable[..., None], str] = {
    index: "List what an archive holds: usable series, refused ones",
    convert: "Turn DICOM into NIfTI",
    deidentify: "Take the patients out of DICOM files",
    annotate: "Read the findings out of reports",
    check: "Look for faults in a manifest",
    prepare: "Prepare a manifest's images ahead of training",
    train: "Train a model, or one a fold",
    tune: "Search for better settings",
    sync: "Send to MLflow what it has not got yet",
    compare: "Train many configurations on the same cases",
    evaluate: "State figures with intervals; set models side by side",
    score: "Score an archive",
    explain: "Write a page about each case of a study",
    feedback: "Collect what readers say of the answers",
    models: "List the components and their options",
    doctor: "See whether this machine is fit",
}
"""In the order of the help, which names what each does."""
_COHORTS: dict[str, tuple[Callable[..., None], str]] = {
    "lidc": (cohort_lidc, "Lung nodules of LIDC-IDRI, with a report each"),
    "medmnist3d": (cohort_medmnist3d, "A published file of MedMNIST3D"),
}

# The error of a wrong command line; typer exports only this one of its kinds.
_COMMAND_LINE_ERROR: type[Any] = typer.BadParameter.__mro__[1]


def app() -> typer.Typer:
    """Return the application with all its commands."""
    made = _group("Learn from medical images and their reports together. Research use only.")
    made.callback()(_root)
    for command, said in _COMMANDS.items():
        made.command(short_help=said)(command)
    cohort = _group("Turn a public data set into a manifest and files.")
    for name, (command, said) in _COHORTS.items():
        cohort.command(name, short_help=said)(command)
    made.add_typer(cohort, name="cohort")
    return made


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"medfuse {medfuse.__version__}")
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take what stands before a command."""


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
    except OSError as error:
        if debug:
            raise
        _complain(f"{_place(error)}: {error.strerror or type(error).__name__}; expected a file or folder that serves")
        return FAILED
    except MemoryError as error:
        if debug:
            raise
        _complain(f"{_place(error)}: memory does not suffice; expected more of it, or less to do at once")
        return FAILED
    except Exception as error:
        if debug:
            raise
        # Not the error's own words: nobody foresaw it, so they may hold what a patient's file holds.
        _complain(f"{_place(error)}: an unforeseen {type(error).__name__}; expected none: see it with --debug")
        return FAILED
    except KeyboardInterrupt:
        _complain("interrupted: what was finished is kept")
        return FAILED


def _place(error: BaseException) -> str:
    """Name the line of medfuse that an error comes through last."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "medfuse" in Path(frame.filename).parts]
    return f"{Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else "medfuse"


def _complain(message: str) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
