"""Tasks of lm-eval, where it is installed: a task of our own against a plain loop, and what cannot be had."""

import json

import pytest
import torch

from tests.evaluation.test_probability import TOKENIZER, build
from unilogit.errors import InputError

pytest.importorskip("lm_eval")

from unilogit.evaluation.lm_eval_tasks import check_tasks, measure_tasks

ROWS = [
    {"town": "Linz", "choices": ["north", "south", "sea"], "right": 1},
    {"town": "Cork", "choices": ["north", "south", "sea"], "right": 2},
    {"town": "Oslo", "choices": ["north", "south", "sea"], "right": 0},
    {"town": "Brno", "choices": ["north", "south", "sea"], "right": 2},
]
TASK = """
task: unilogit_towns
dataset_path: json
dataset_kwargs:
  data_files: {file}
test_split: train
output_type: multiple_choice
doc_to_text: "{{{{town}}}} lies in the"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{right}}}}"
metric_list:
  - metric: acc
"""


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    file = tmp_path / "unilogit_towns.yaml"
    file.write_text(TASK.format(file=rows))
    return str(file)


def log_p(model, start, end):
    """Of the tokens of `end`, as lm-eval cuts the whole text: after those that `start` has alone."""
    ids, before = TOKENIZER.encode(start + end), len(TOKENIZER.encode(start))
    with torch.no_grad():
        rows = model(torch.tensor([ids])).logits[0].double().log_softmax(dim=1)
    return sum(float(rows[place - 1, ids[place]]) for place in range(before, len(ids)))


def test_a_task_of_a_file_is_measured_as_a_plain_loop_does(task):
    model = build().eval()
    likeliest = [
        max(range(3), key=lambda choice: log_p(model, f"{row['town']} lies in the", " " + row["choices"][choice]))
        for row in ROWS
    ]
    accuracy = sum(choice == row["right"] for choice, row in zip(likeliest, ROWS, strict=True)) / len(ROWS)
    check_tasks([task])
    measures = measure_tasks(model, TOKENIZER, [task], batch_tokens=120)
    assert measures.metrics == {"unilogit_towns": {"acc": accuracy}}
    assert not measures.unavailable


def test_a_task_that_is_not_there_is_named_with_those_spelled_alike():
    with pytest.raises(InputError, match=r"no task hellaswak, .* hellaswag"):
        check_tasks(["hellaswak"])


def test_a_task_without_its_data_says_what_to_do(task, tmp_path):
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(InputError, match=r"unilogit_towns\.yaml cannot be loaded .*HF_HOME"):
        check_tasks([task])
