"""How a process that is one command begins and ends.

Imports nothing heavy, for `--help` is to be instant.
"""

import atexit
import gc
import os
import sys
import threading
from collections.abc import Callable

_SEARCHES = 1000  # of what is younger, for one of all that is in memory


def run_command(command: Callable[[], object]) -> None:
    """Run what ends with SystemExit or returns, and end the process with that exit code.

    What libraries are made of is hundreds of thousands of objects that live until the end: Python searches them for
    garbage over and over while they are imported, and takes them apart one by one when it ends. Neither is done here.
    Threads are waited for, what is registered with atexit is run, and output is written out, as always.
    """
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _SEARCHES)
    try:
        command()
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            raise  # Python prints it
        code = end.code or 0
    else:
        code = 0
    threading._shutdown()  # type: ignore[attr-defined]  # these two as multiprocessing does
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads it any more, or the disk is full: Python says so, in its way
        sys.exit(code)
    os._exit(code)
