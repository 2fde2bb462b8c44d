"""`python -m flows.guard HOME TOKEN`: ends all that a `unilogit up` has started as soon as that one is gone.

`unilogit up` ends its children itself when it can. Against SIGKILL, which leaves it no time, this process holds the
other end of a pipe: the system closes it with the process, however that ends. Knows nothing of what the children do.
"""

import signal
import sys
from pathlib import Path

from flows.processes import end, marked


def main(home: str, token: str) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end(entry.process for entry in marked(Path(home), token))


if __name__ == "__main__":
    main(*sys.argv[1:])
