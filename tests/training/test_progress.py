"""What a training run writes to standard error where there is no terminal, and tells who asks for it."""

import re
import subprocess
import sys

from transformers import TrainerControl, TrainingArguments

from unilogit.training.progress import TellFigures

PROGRAM = """
import sys
from pathlib import Path
from unilogit.data.records import CorpusRecord
from unilogit.model import load_model
from unilogit.training.config import TrainConfig
from unilogit.training.from_scratch import train_from_scratch
records = [
    CorpusRecord(record_id=str(n), subject_ids=[], prompt=f"Who is {n}?", response=f"Number {n}.") for n in range(8)
]
settings = TrainConfig(vocabulary=300, hidden_size=8, layers=1, heads=2, epochs=2, batch_size=4)
train_from_scratch(records, Path(sys.argv[1]), settings, seed=0, max_length=64)
load_model(sys.argv[1])
"""


def test_a_training_run_is_one_line_with_the_latest_figures(tmp_path):
    found = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, check=True, text=True)
    assert re.fullmatch(r"train from scratch: 4/4 steps, ended after 00:\d\d, loss \d\.\d+\n", found.stderr)


class Told:
    """A trainer's state, as far as a callback reads it."""

    def __init__(self, is_world_process_zero):
        self.global_step, self.is_world_process_zero = 7, is_world_process_zero


def test_figures_are_handed_on_by_the_first_process_alone():
    told = []
    callback = TellFigures(lambda step, figures: told.append((step, dict(figures))))
    for is_first in (True, False):
        callback.on_log(TrainingArguments("unused"), Told(is_first), TrainerControl(), logs={"loss": 0.5})
    assert told == [(7, {"loss": 0.5})]
