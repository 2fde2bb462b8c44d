"""Where the main thread of every Python process that finds this file is, a hundred times a second.

Python imports a module of this name when it starts. With FLOW_COST_FOLDER set, it writes a file there when the process
ends: its arguments, when it began and ended, and how many seconds what took, on the clock and on the processor.
"""

import atexit
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

BEGAN = time.time()
PERIOD = 0.01  # seconds
MODEL, DATA = "model work", "reading, matching and writing data"
PARTS = (  # part of "path:function" → what it belongs to; of several frames, the innermost that is here
    ("importlib._bootstrap", "imports"),
    ("/unilogit/training/", MODEL),
    ("/unilogit/evaluation/", MODEL),
    ("/unilogit/losses/", MODEL),
    ("/unilogit/model.py:load_model", "loading and saving models"),
    ("/unilogit/model.py:save_model", "loading and saving models"),
    ("/site-packages/mlflow/", "MLflow"),
    ("/site-packages/dvc", "DVC"),
    ("/site-packages/great_expectations/", "Great Expectations"),
    ("/site-packages/prefect/", "Prefect"),
    ("/tasks/report/", "report and pictures"),
    ("/unilogit/ledger/", "ledger"),
    ("/unilogit/data/", DATA),
    ("/tasks/", DATA),
)
REST = "everything else"


def part(frame: FrameType | None) -> str:
    """What a stack is busy with: tokens that are made for a model that is trained or measured are model work."""
    names = []
    while frame is not None and (not names or names[-1] == DATA):
        place = f"{frame.f_code.co_filename}:{frame.f_code.co_name}"
        names += [name for pattern, name in PARTS if pattern in place][:1]
        frame = frame.f_back
    return (names[-1] if names[-1] == MODEL else names[0]) if names else REST


def watch(folder: Path) -> None:
    main = threading.main_thread().ident or 0
    processor = time.pthread_getcpuclockid(main)
    seconds, processor_seconds = Counter[str](), Counter[str]()

    def sample() -> None:
        before = time.perf_counter(), time.clock_gettime(processor)
        while True:
            time.sleep(PERIOD)
            now = time.perf_counter(), time.clock_gettime(processor)
            name = part(sys._current_frames().get(main))
            seconds[name] += now[0] - before[0]  # type: ignore[assignment]
            processor_seconds[name] += now[1] - before[1]  # type: ignore[assignment]
            before = now

    def write() -> None:
        content = {"arguments": sys.argv, "began": BEGAN, "ended": time.time()}
        content |= {"seconds": dict(seconds), "processor_seconds": dict(processor_seconds)}
        (folder / f"{os.getpid()}.json").write_text(json.dumps(content))

    threading.Thread(target=sample, daemon=True).start()
    atexit.register(write)


if "FLOW_COST_FOLDER" in os.environ:
    watch(Path(os.environ["FLOW_COST_FOLDER"]))
