"""How commands end, in processes of their own: as Python ends them, without its searches for garbage."""

import subprocess
import sys

import pytest

HEAD = "import sys; from tasks.command import run_command\n"


def ended(body):
    """A process that runs this as a command."""
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    program = f"{HEAD}def command():\n{indented}run_command(command)"
    return subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit(75)", 75, ""),
        ("sys.exit('no such file')", 1, "no such file\n"),
        ("raise ValueError('a bug')", 1, "ValueError: a bug\n"),
    ],
)
def test_exit_codes_are_those_of_python(ending, code, said):
    done = ended(f"print('output')\n{ending}")
    assert (done.returncode, done.stdout) == (code, "output\n")
    assert done.stderr.endswith(said)
    assert bool(done.stderr) == bool(said)


def test_threads_and_exit_handlers_come_to_their_end():
    done = ended(
        "import atexit, threading, time\n"
        "atexit.register(print, 'registered')\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), print('thread'))).start()\n"
        "print('command')\nsys.exit(3)"
    )
    assert (done.returncode, done.stdout) == (3, "command\nthread\nregistered\n")
    assert not done.stderr


def test_a_folder_that_goes_with_the_process_is_gone(tmp_path):
    done = ended(
        "import tempfile\n"
        f"folder = globals()['kept'] = tempfile.TemporaryDirectory(dir={str(tmp_path)!r})\n"
        "import pathlib; pathlib.Path(folder.name, 'file').write_text('x')"
    )
    assert done.returncode == 0
    assert not list(tmp_path.iterdir())


def test_output_that_nobody_can_take_is_no_success():
    with open("/dev/full", "w") as full:
        program = f"{HEAD}run_command(lambda: print('output'))"
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert done.returncode
    assert b"No space left" in done.stderr
