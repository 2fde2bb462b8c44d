"""`python -m unilogit.training.supervise PARENT PROCESSES ARGUMENTS…`: what `launch` starts.

torch's launcher runs `python ARGUMENTS…` in each process, and ends all when one fails. Supervisor and processes are
killed when their parent dies (on Linux). Exits with 2 if a process did, with 1 after any other failure.
"""

import ctypes
import logging
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """From now on this process is killed when its parent ends; at once, if it has already.

    Args:
        parent: the process id that the parent has or had.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def supervise(processes: int, arguments: list[str]) -> int:
    """Run `python *arguments` in that many processes. Returns: the exit code."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable()  # the failures are told below
    options = ["--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={processes}", "--no-python"]
    worker = [sys.executable, "-m", "unilogit.training.supervise", str(os.getpid()), "0", *arguments]
    try:
        run.run(run.parse_args([*options, *worker]))
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        if 2 in codes.values():
            return 2
        for rank, code in codes.items():
            print(f"process {rank} ended with exit code {code}", file=sys.stderr)
        return 1
    except SignalException as error:
        return 128 + error.sigval
    return 0


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    if sys.argv[2] == "0":  # one of the processes; it stays bound to its parent through exec
        os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
    sys.exit(supervise(int(sys.argv[2]), sys.argv[3:]))
