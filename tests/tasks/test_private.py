"""What others may read is found and closed; what they may not is left as it is."""

import os
import stat
import subprocess
import sys

from tasks.private import make_private, open_to_others

MODES = {"open": 0o755, "open/read": 0o644, "open/checked": 0o444, "closed": 0o700, "closed/written": 0o660}


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def test_what_is_open_is_found_and_closed_and_what_the_owner_may_do_stays(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    for name, bits in MODES.items():
        path = folder / name
        path.mkdir() if "/" not in name else path.write_text(name)
        path.chmod(bits)
    outside = tmp_path / "outside"
    outside.write_text("others'")
    outside.chmod(0o644)
    (folder / "link").symlink_to(outside)

    found = {str(path.relative_to(folder)) for path in open_to_others(folder)}
    assert found == {"open", "open/read", "open/checked", "closed/written"}
    assert make_private(folder) == 4
    assert list(open_to_others(folder)) == []
    assert {name: mode(folder / name) for name in MODES} == {name: bits & 0o700 for name, bits in MODES.items()}
    assert mode(outside) == 0o644
    assert make_private(folder) == 0


def test_a_folder_that_is_open_itself_is_closed(tmp_path):
    tmp_path.chmod(0o755)
    assert list(open_to_others(tmp_path)) == [tmp_path]
    assert make_private(tmp_path) == 1
    assert mode(tmp_path) == 0o700


def test_a_process_of_ours_and_those_that_it_starts_make_private_files_whatever_they_were_started_with(tmp_path):
    starts = "import subprocess, tasks; open('own', 'w'); subprocess.run('mkdir -p a/b; touch child', shell=True)"
    before = os.umask(0)
    try:
        subprocess.run(
            [sys.executable, "-c", starts],
            cwd=tmp_path,
            check=True,
            env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
        )
    finally:
        os.umask(before)
    assert {name: mode(tmp_path / name) for name in ("own", "child", "a", "a/b")} == {
        "own": 0o600,
        "child": 0o600,
        "a": 0o700,
        "a/b": 0o700,
    }
