"""Read mutated images, each in a forked process, and count how it ends. Run by test_fuzz.py, in a process of its own.

usage: python fuzzing.py FUZZ.PY SEED_DIR N SEED
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from medfuse.errors import MedfuseError
from medfuse.io import read_volumes

LIMIT_S = 10
MEMORY_BYTES = 4 * 2**30


def read(path: Path) -> None:
    with contextlib.suppress(MedfuseError):  # refused by name, as it should be
        read_volumes(path)


def main(script: str, folder: str, n: str, seed: str) -> None:
    spec = importlib.util.spec_from_file_location("fuzz", script)
    assert spec is not None and spec.loader is not None
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    seeds = [(path, path.read_bytes()) for path in fuzz.seeds(folder)]
    others = [data[:65536] for _, data in seeds[:6]]
    for path, _ in seeds:
        read(path)  # all is imported before the first fork
    ends: Counter[str] = Counter()
    bad, slowest, largest = [], 0.0, 0
    with tempfile.TemporaryDirectory() as work:
        for k in range(int(n)):
            chance = random.Random(f"{seed}|{k}")  # noqa: S311 - not for secrets
            source, data = seeds[chance.randrange(len(seeds))]
            target = Path(work) / ("m" + "".join(source.suffixes[-2:]))
            target.write_bytes(fuzz.mutate(data, chance, others))
            end, detail, seconds, memory = fuzz.child(read, target, LIMIT_S, MEMORY_BYTES)
            ends[end] += 1
            slowest, largest = max(slowest, seconds), max(largest, memory // 1024)
            if end != "ok":
                bad.append({"k": k, "seed": source.name, "end": end, "detail": detail})
            target.unlink()
    sys.stdout.write(json.dumps({"ends": ends, "bad": bad, "slowest_s": round(slowest, 2), "largest_mb": largest}))


if __name__ == "__main__":
    main(*sys.argv[1:])
