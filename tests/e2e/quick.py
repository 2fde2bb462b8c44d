"""Knobs that make a run short where what the model learns does not matter."""

QUICK = {
    "example": {"people": 12, "unseen_people": 12},
    "train": {"hidden_size": 32, "epochs": 5, "layers": 1},
    "model": {"unfamiliar": "continue"},
    "unlearn": {"epochs": 3, "min_steps": 1, "checkpoint_minutes": 0, "batch_size": 4},
    "evaluate": {
        "max_examples": 10,
        "max_new_tokens": 4,
        "general": {"questions": 7, "text": True},
        "robustness": {"attacks": ["quantisation"], "max_examples": 4, "relearning_rate": 1e-4},
    },
}


# What a model that learned so little does not have, and what is of attacks that are not made.
UNAVAILABLE = (
    *(
        "model-utility-retained",
        "nobody-is-known",
        "privleak-least",
        "privleak-most",
        "fluent-answers",
        "no-repetition",
    ),
    *("forgotten-once-relearned", "forgotten-in-other-words", "forgotten-in-other-forms"),
)


def pass_all_gates(project):
    """Every gate passes, whatever was measured."""
    for name in UNAVAILABLE:
        project.drop_gate(name)
    for gate in project.gates():
        project.change_gate(gate["name"], 1e9 if gate["op"].startswith("<") else -1e9)
