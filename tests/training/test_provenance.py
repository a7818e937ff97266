from pathlib import Path

import pytest

from medfuse.training.provenance import git_commit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "files",
    [
        {"HEAD": "ref: refs/heads/main\n", "refs/heads/main": COMMIT + "\n"},
        {"HEAD": COMMIT + "\n"},
        {
            "HEAD": "ref: refs/heads/main\n",
            "packed-refs": f"# pack-refs\n{'f' * 40} refs/tags/v1\n{COMMIT} refs/heads/main\n",
        },
    ],
    ids=["branch", "detached", "packed"],
)
def test_the_commit_of_a_checkout_is_read(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / ".git" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / ".git" / name).write_text(text)
    assert git_commit(tmp_path) == COMMIT


@pytest.mark.parametrize(
    "files", [{}, {"HEAD": "ref: refs/heads/main\n"}, {"HEAD": "ref: refs/heads/main\n", "packed-refs": ""}]
)
def test_without_a_commit_it_is_empty(tmp_path: Path, files: dict[str, str]) -> None:
    (tmp_path / ".git").mkdir()
    for name, text in files.items():
        (tmp_path / ".git" / name).write_text(text)
    assert git_commit(tmp_path) == ""
