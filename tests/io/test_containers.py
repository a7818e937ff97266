"""Zip and tar files are read in place, and whatever would be unsafe to unpack is refused by name."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import tarfile
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import DataError, VolumeError
from medfuse.io import expansion
from medfuse.io.containers import container_of, members_of, open_bytes, root_within, safe_name

CONTENT = {"b/2.dcm": b"two" * 1000, "a/1.dcm": b"one" * 5000, "top": b"t"}
KINDS = ("x.zip", "x.tar", "x.tar.gz", "x.TGZ")


def pack(path: Path, content: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in content.items():
                file.writestr(name, data)
        return path
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as tar:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def listed(path: Path) -> tuple[list[str], dict[str, DataError]]:
    problems: list[tuple[Path, DataError]] = []
    inside = root_within(path)
    names = [member.relative_to(inside).as_posix() for member in members_of(path, problems=problems)]
    return names, {str(place).removeprefix(f"{inside}/"): error for place, error in problems}


@pytest.mark.parametrize("name", KINDS)
def test_members_are_read_in_place_and_sorted(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / name, CONTENT)
    assert listed(path) == (["a/1.dcm", "b/2.dcm", "top"], {})
    with open_bytes(root_within(path) / "a/1.dcm") as one, open_bytes(root_within(path) / "b/2.dcm") as two:
        assert one.read(4) == b"oneo" and two.read(2) == b"tw" and one.read(2) == b"ne"
        assert one.seek(-3, os.SEEK_END) == 14_997 and one.read() == b"one" and one.read() == b""
        assert one.seek(3) == 3 and one.read(6) == b"oneone" and one.tell() == 9
        buffer = bytearray(5)
        assert two.readinto(buffer) == 5 and buffer == b"otwot"  # type: ignore[attr-defined]
    assert not any(tmp_path.glob("*/")) and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", KINDS)
def test_member_that_is_not_there_is_not_found(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / name, CONTENT)
    with pytest.raises(FileNotFoundError):
        open_bytes(root_within(path) / "a/2.dcm")
    with pytest.raises(FileNotFoundError):
        open_bytes(tmp_path / "absent.zip!" / "a")


@pytest.mark.parametrize("name", KINDS[:3])
@pytest.mark.parametrize("bad", ["../../out", "/elsewhere/out", "a/../../out", "..\\out", "C:\\out"])
def test_names_that_lead_outside_are_refused_and_the_rest_is_read(tmp_path: Path, name: str, bad: str) -> None:
    path = pack(tmp_path / name, CONTENT | {bad: b"x"})
    names, problems = listed(path)
    assert len(names) == 3 and len(problems) == 1
    (error,) = problems.values()
    assert "unsafe name" in str(error) and not isinstance(error, VolumeError)


@pytest.mark.parametrize("name", KINDS[:3])
def test_second_member_of_one_name_is_refused(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / name, CONTENT | {"./top": b"other"})
    names, problems = listed(path)
    assert len(names) == 3 and "second member" in str(problems["top"])
    with open_bytes(root_within(path) / "top") as file:
        assert file.read() == b"t"


def test_links_devices_and_sparse_members_of_a_tar_are_refused(tmp_path: Path) -> None:
    kinds = {b"2": "a link", b"1": "a link", b"3": "device", b"6": "device", b"S": "sparse"}
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for number, kind in enumerate(kinds):
            entry = tarfile.TarInfo(f"m{number}")
            entry.type, entry.linkname = kind, "/etc/passwd"
            tar.addfile(entry)
        behind = tarfile.TarInfo("m0/file")
        tar.addfile(behind, io.BytesIO())
        tar.addfile(tarfile.TarInfo("good"), io.BytesIO())
    names, problems = listed(tmp_path / "x.tar")
    assert names == ["good"] and "behind a link" in str(problems["m0/file"])
    assert all(said in str(problems[f"m{n}"]) for n, said in enumerate(kinds.values()))


def test_links_encrypted_and_unknown_members_of_a_zip_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
        file.writestr("locked", "x")
        file.writestr("bz", "x", compress_type=zipfile.ZIP_BZIP2)
        file.writestr("good", "x")
    data = bytearray(path.read_bytes())
    for header, offset, back in ((b"PK\x03\x04", 6, 30), (b"PK\x01\x02", 8, 46)):
        place = data.index(b"locked", data.index(header, 0)) if back == 30 else data.rindex(b"locked")
        struct.pack_into("<H", data, place - back + offset, 1)
    path.write_bytes(data)
    names, problems = listed(path)
    assert names == ["good"]
    assert {name: str(error).split(";")[0].split(": ")[1][:20] for name, error in problems.items()} == {
        "link": "found a link", "locked": "found an encrypted m", "bz": "found compression me"
    }  # fmt: skip
    assert not isinstance(problems["link"], VolumeError) and isinstance(problems["locked"], VolumeError)
    with pytest.raises(VolumeError, match="encrypted"):
        open_bytes(root_within(path) / "locked")


@pytest.mark.parametrize("name", ["bomb.zip", "bomb.tar.gz"])
def test_bomb_is_refused_before_memory_or_disk_is_taken(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expansion, "LARGE_BYTES", 2**20)
    path = pack(tmp_path / name, {"zeros": bytes(40 * 2**20)})
    written = 0
    original = tempfile.TemporaryFile

    def watched(*_: object, **__: object) -> io.BytesIO:
        nonlocal written

        class Watched(io.BytesIO):
            def write(self, data: object) -> int:
                nonlocal written
                written += len(data)  # type: ignore[arg-type]
                return len(data)  # type: ignore[arg-type]

        return Watched()

    monkeypatch.setattr(tempfile, "TemporaryFile", watched)
    tracemalloc.start()
    try:
        names, problems = listed(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    assert original is not tempfile.TemporaryFile and written < 8 * 2**20
    assert names == [] and "bomb" in str(next(iter(problems.values())))


def test_too_many_members_are_refused_before_they_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medfuse.io import zip_files

    path = pack(tmp_path / "x.zip", CONTENT)
    monkeypatch.setattr(zip_files, "MAX_DIRECTORY_BYTES", 100)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    (error,) = listed(path)[1].values()
    assert "too many members" in str(error)


def test_long_header_of_a_tar_takes_no_memory(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2**33
    (tmp_path / "x.tar").write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    names, (error,) = listed(tmp_path / "x.tar")[0], listed(tmp_path / "x.tar")[1].values()
    assert names == [] and "cannot be read" in str(error)


@pytest.mark.parametrize("name", KINDS[:3])
def test_damaged_container_is_one_named_refusal_or_an_error_of_reading(tmp_path: Path, name: str) -> None:
    whole = pack(tmp_path / name, CONTENT).read_bytes()
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - 10):
        path = tmp_path / f"{cut}-{name}"
        path.write_bytes(whole[:cut])
        for member in members_of(path, problems=[]):
            with open_bytes(member) as file:
                file.read()
    assert listed(tmp_path / f"100-{name}")[1] or name.endswith(".tar")


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_no_damage_escapes(noise: bytes, place: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in KINDS[:3]:
            path = pack(Path(folder, name), CONTENT)
            data = bytearray(path.read_bytes())
            data[place : place + len(noise)] = noise
            path.write_bytes(data)
            for member in members_of(path, problems=[]):
                try:
                    with open_bytes(member) as file:
                        file.read()
                except (OSError, VolumeError):
                    continue


def test_changed_container_is_opened_again(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", CONTENT)
    assert len(listed(path)[0]) == 3
    pack(path, CONTENT | {"more": b"m" * 77})
    assert len(listed(path)[0]) == 4


def test_forked_processes_read_without_disturbing_each_other(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar.gz", {f"{n}": bytes([n]) * 50_000 for n in range(20)})
    members = list(members_of(path, problems=[]))
    children = []
    for _ in range(3):
        if (child := os.fork()) == 0:
            right = all(open_bytes(m).read() == bytes([int(m.name)]) * 50_000 for m in members * 3)
            os._exit(0 if right else 1)
        children.append(child)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)


def test_gzip_that_ends_early_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar.gz", CONTENT)
    path.write_bytes(path.read_bytes()[:-12])
    (error,) = listed(path)[1].values()
    assert "cannot be read (EOFError)" in str(error)
    path.write_bytes(gzip.compress(b"no tar" * 500))
    (error,) = listed(path)[1].values()
    assert "cannot be read (ReadError)" in str(error)


@given(st.text(max_size=20))
def test_safe_names_stay_inside(name: str) -> None:
    plain = safe_name(name)
    if plain is not None:
        path = Path("/root", plain)
        assert path.is_relative_to("/root") and ".." not in path.parts and path != Path("/root")


def test_plain_paths_are_no_members(tmp_path: Path) -> None:
    (tmp_path / "a!").mkdir()
    (tmp_path / "a!" / "b").write_bytes(b"plain")
    assert container_of(tmp_path / "a!" / "b") is None
    with open_bytes(tmp_path / "a!" / "b") as file:
        assert file.read() == b"plain"
