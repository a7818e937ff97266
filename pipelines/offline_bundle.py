"""Make a folder, and a tar of it, from which medfuse is installed without a network: wheels, lock, checksums, script.

Run it by ``make bundle``. It is for this system, processor and Python version, with the CPU build of torch that is
installed here; the GPL-3.0 codec and the packages of tests and site are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("pdf", "dicomweb", "hf", "lidc")
BESIDE = ("README.md", "LICENSE", "CHANGELOG.md", "configs")
TORCH = "torch"
SCRIPT = """#!/bin/sh
# Install medfuse into a new folder from the files beside this script; nothing is fetched.
set -eu
cd "$(dirname "$0")"
target=${{1:?"usage: sh install.sh FOLDER"}}
python=${{PYTHON:-python3}}
found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$found" != "{python}" ]; then
  echo "error: found Python $found; expected {python}, as in: PYTHON=python{python} sh install.sh FOLDER" >&2
  exit 2
fi
sha256sum --check --quiet SHA256SUMS
"$python" -m venv "$target"
pip="$target/bin/python -m pip --isolated --disable-pip-version-check install --quiet --no-index --no-deps"
$pip --find-links wheels 'torch=={torch}'
$pip --find-links wheels --require-hashes -r requirements.lock
$pip --find-links wheels 'medfuse=={medfuse}'
"$target/bin/medfuse" --version
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Make the bundle.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--out``, where it goes; ``--torch-index``, of the wheels of torch, if pip's own has none for the CPU.

    Returns
    -------
    int
        0; 1 if a wheel cannot be had.
    """
    parser = argparse.ArgumentParser(prog="offline_bundle", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("dist"))
    parser.add_argument("--torch-index", default="")
    options = parser.parse_args(argv)
    folder = options.out / f"medfuse-{version('medfuse')}-bundle"
    shutil.rmtree(folder, ignore_errors=True)
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    lock = folder / "requirements.lock"
    lock.write_text(kept_lines(Path("requirements.lock").read_text(encoding="utf-8"), needed(EXTRAS)), "utf-8")
    index = ["--extra-index-url", options.torch_index] if options.torch_index else []
    try:
        fetch(["download", "--no-deps", "--only-binary", ":all:", f"{TORCH}=={version(TORCH)}", *index], wheels)
        fetch(["download", "--no-deps", "--require-hashes", "-r", str(lock)], wheels)
        fetch(["wheel", "--no-deps", "--no-build-isolation", "."], wheels)
    except subprocess.CalledProcessError:
        print("error: found a package that pip cannot get; expected what it names above", file=sys.stderr)
        return 1
    finish(folder)
    print(f"{folder}.tar: {sum(1 for _ in wheels.iterdir())} packages")
    return 0


def needed(extras: Sequence[str]) -> set[str]:
    """Return the packages that medfuse with these extras needs here, but torch.

    Parameters
    ----------
    extras : sequence of str
        All of them installed.

    Returns
    -------
    set of str
        Canonical names.
    """
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(line for one in extras for line in project["optional-dependencies"][one])]
    seen: set[tuple[str, str]] = set()
    waiting = [(name, extra) for line in wanted for name, extra in parts_of(Requirement(line))]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # of another system, or what make lock leaves out
        for requirement in map(Requirement, requirements):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += parts_of(requirement)
    return {name for name, _ in seen} - {TORCH}


def parts_of(requirement: Requirement) -> list[tuple[str, str]]:
    """Return a requirement's canonical name, with nothing and with each of its extras."""
    return [(canonicalize_name(requirement.name), extra) for extra in ("", *sorted(requirement.extras))]


def kept_lines(lock: str, names: set[str]) -> str:
    r"""Return the entries of a lock that have one of these names.

    Examples
    --------
    >>> kept_lines("a-b==1 \\\n    --hash=sha256:0\nc==2 \\\n    --hash=sha256:1\n", {"a-b"})
    'a-b==1 \\\n    --hash=sha256:0\n'
    """
    entries = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)
    named = (
        entry for entry in entries if (found := re.match(r"[\w.-]+", entry)) and canonicalize_name(found[0]) in names
    )
    return "".join(named)


def fetch(arguments: Sequence[str], wheels: Path) -> None:
    """Let pip put wheels into a folder."""
    where = "--wheel-dir" if arguments[0] == "wheel" else "--dest"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, *arguments, where, str(wheels)], check=True)  # noqa: S603 - our own arguments


def finish(folder: Path) -> None:
    """Put script, configurations and checksums beside the wheels, and all of it into a tar."""
    for name in BESIDE:
        source = Path(name)
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
    script = SCRIPT.format(python=python_of(), torch=version(TORCH), medfuse=version("medfuse"))
    (folder / "install.sh").write_text(script, encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = []
    for path in files:
        with path.open("rb") as file:
            sums.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.relative_to(folder).as_posix()}\n")
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    with tarfile.open(folder.with_name(f"{folder.name}.tar"), "w") as tar:
        tar.add(folder, folder.name)


def python_of() -> str:
    """Return the version of Python that the wheels are for."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


if __name__ == "__main__":
    sys.exit(main())
