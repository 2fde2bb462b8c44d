"""What every test shares: one thread a process, as several test processes share the cores."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
