"""`parallax acl`: hashes in the file, passwords beside it, and nothing on the screen."""

from __future__ import annotations

import stat
from pathlib import Path

from parallax.broker.store.access import ROLES, user_name
from tests.unit.cli.invoking import Run

CELL = "guarded"


def test_the_command_writes_hashes_to_the_file_and_passwords_beside_it(
    run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "acl"
    answer = run("acl", "--cell", CELL, "-o", str(folder))
    assert answer.code == 0
    text = (folder / "users.acl").read_text()
    for role in ROLES:
        file = folder / f"{role}.password"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.read_text().strip() not in text
        assert file.read_text().strip() not in answer.out
        assert user_name(role, CELL) in text
    assert text.startswith("user default off\n")
    assert run("acl", "-o", str(folder)).code == 2  # nothing is overwritten
