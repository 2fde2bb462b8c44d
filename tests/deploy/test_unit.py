"""deploy/unilogit.service by systemd's own check, where there is one."""

import shutil
import subprocess

import pytest

from tests.deploy.settings import DEPLOY

UNIT = DEPLOY / "unilogit.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_every_line(tmp_path):
    program = tmp_path / "unilogit"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/srv/unilogit/.venv/bin/unilogit", str(program)))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if unit.name in line] == []
    unit.write_text(unit.read_text().replace("KillMode=control-group", "KillMode=everything"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert "kill mode" in done.stderr


def test_it_comes_back_and_leaves_nothing_behind():
    lines = UNIT.read_text().splitlines()
    assert {"Restart=always", "KillMode=control-group", "UMask=0077", "User=unilogit"} <= {*lines}
