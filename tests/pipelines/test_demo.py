from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipelines import demo

ROOT = Path(__file__).parents[2]
GUARD = '''
"""Every process of the test starts with it: who asks beyond this machine is written down and gets nothing."""

import ipaddress, os, socket


def say(word):
    with open(os.environ["GUARD_LOG"], "a") as file:
        file.write(word + "\\n")


def is_here(address):
    host = address[0] if isinstance(address, tuple) else address
    if host in (None, "", "localhost", b"localhost") or not isinstance(address, tuple | str | None):
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


def guarded(method, place):
    def call(*args, **options):
        address = args[place] if place < len(args) else options.get("host")
        if not is_here(address) and not (isinstance(args[0], socket.socket) and args[0].family == socket.AF_UNIX):
            say(f"asked {address!r}")
            raise OSError("no network in this test")
        return method(*args, **options)

    return call


for name, place in (("connect", 1), ("connect_ex", 1), ("sendto", -1)):
    setattr(socket.socket, name, guarded(getattr(socket.socket, name), place))
socket.getaddrinfo = guarded(socket.getaddrinfo, 0)
say("guarded")
'''


def with_guard(folder: Path) -> tuple[dict[str, str], Path]:
    """Return an environment whose Python processes reach this machine alone, and where they say what they asked."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(GUARD)
    told = folder / "told.txt"
    path = os.pathsep.join([str(folder), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "GUARD_LOG": str(told)}, told


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("socket.create_connection(('127.0.0.1', 1), timeout=1)", ""),
        ("socket.create_connection(('localhost', 1), timeout=1)", ""),
        ("socket.create_connection(('192.0.2.1', 80), timeout=1)", "192.0.2.1"),
        ("socket.getaddrinfo('example.org', 443)", "example.org"),
        ("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 9))", "192.0.2.1"),
    ],
)
def test_the_guard_sees_who_asks_beyond_this_machine(tmp_path: Path, call: str, expected: str) -> None:
    environment, told = with_guard(tmp_path / "guard")
    subprocess.run([sys.executable, "-c", f"import socket; {call}"], env=environment, stderr=subprocess.DEVNULL)
    lines = told.read_text().splitlines()
    assert lines[0] == "guarded" and bool(expected) == (len(lines) > 1)
    assert expected in "".join(lines[1:])


@pytest.mark.slow
def test_demo_goes_from_data_to_pages_asks_nobody_and_reuses_what_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDFUSE_CONFIG_DIR", str(tmp_path / "config"))
    out = tmp_path / "demo"
    arguments = ["--out", str(out), "--set", "optim.epochs=2"]
    environment, told = with_guard(tmp_path / "guard")
    command = [sys.executable, "-m", "pipelines.demo", *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(told.read_text().splitlines()) == {"guarded"}
    assert "fused minus" in done.stdout and "largest difference" in done.stdout
    metrics = json.loads((out / "evaluation" / "metrics.json").read_text())
    assert {"image", "text", "fused", "diameter", "one_hot_scores", "prevalence", "lift"} <= set(metrics)
    assert len(list(out.glob("explanations/*/report.html"))) >= 1
    table = pd.concat(pd.read_parquet(part) for part in (out / "scores" / "predictions").glob("part-*.parquet"))
    assert not table.duplicated(["study_key", "lesion_id"]).any()
    written = b"".join(
        p.read_bytes()
        for p in out.rglob("*")
        if p.is_file() and "cohort" not in p.parts and "archive" not in p.parts and p.name != "rois.csv"
    )
    assert b"LIDC-IDRI-0" not in written and b"1.3.6.1.4.1.14519" not in written
    models = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/model/weights.safetensors")}
    assert demo.main(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in models} == models
