"""Where `booth demo --visit --keep` leaves its results: never over files that are somebody's."""

from __future__ import annotations

import pytest

from booth.demo import DemoError
from booth.demo_visit import prepare_keep


def test_a_new_an_empty_and_an_own_folder_are_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "new", tmp_path / "empty"):
        prepare_keep(folder)
        (folder / "portrait.jpg").write_bytes(b"earlier")
        prepare_keep(folder)
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_with_somebody_s_files_is_refused_and_stays_as_it_is(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "portrait.jpg").write_bytes(b"mine")
    tmp_path.chmod(0o755)
    with pytest.raises(DemoError, match="holds files"):
        prepare_keep(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["deep", "portrait.jpg"]
    assert tmp_path.stat().st_mode & 0o777 == 0o755
