"""The servers of `unilogit up` in a home and on ports of their own: "ready" when they answer, ended with this process.

python -m benchmarks.servers
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with TemporaryDirectory() as home:
        ports = {"UNILOGIT_PREFECT_PORT": free_port(), "UNILOGIT_MLFLOW_PORT": free_port()}
        servers = subprocess.Popen(
            [Path(sys.executable).parent / "unilogit", "up"],
            env={**os.environ, **ports, "UNILOGIT_HOME": home},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert servers.stdout is not None
            for line in servers.stdout:
                if line.startswith("Up."):
                    print("ready", flush=True)
                    signal.pause()
        finally:
            servers.terminate()
            servers.wait()


if __name__ == "__main__":
    main()
