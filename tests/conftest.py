"""What every test shares: one thread a process, as several test processes share the cores; and the commands' path."""

import os
import sys
from pathlib import Path

# Commands are found beside this interpreter, as when the environment is active.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ["OMP_NUM_THREADS"] = "1"
