"""Nobody but the owner may read what a whole run leaves, whatever the shell's umask was."""

import stat

from tasks.private import open_to_others


def test_every_file_of_a_run_is_its_owners_alone(demo):
    project, _ = demo
    home = project.folder / "var"
    paths = [home, *home.rglob("*")]
    assert list(open_to_others(home)) == []
    modes = {(path.is_dir(), stat.S_IMODE(path.lstat().st_mode)) for path in paths if not path.is_symlink()}
    assert modes <= {(True, 0o700), (False, 0o600), (False, 0o400)}
    parts = {path.relative_to(home).parts[0] for path in paths[1:]}
    assert parts >= {
        "ledger.db",
        "runs",
        "intake",
        "mlflow.db",
        "mlartifacts",
        "dvc-remote",
        "retain_models",
    }
    assert len(paths) > 200
