"""A study that takes seconds: a dozen people, and a model that learns them in no time."""

from tasks.study.plan import StudyPlan

TINY = [
    *("example.people=12", "example.unseen_people=12", "train.hidden_size=64", "train.epochs=30"),
    *("unlearn.min_steps=8", "unlearn.epochs=1", "evaluate.max_examples=20", "evaluate.max_new_tokens=8"),
    "evaluate.robustness.attacks=[relearning, quantisation]",
]


def small_plan(folder, **fields) -> StudyPlan:
    short = {"methods": ["grad_diff"], "trials": 2, "epochs": [1, 2], "seeds": [1], "split": "forget10"}
    return StudyPlan(work=folder, overrides=TINY, **short | fields)
