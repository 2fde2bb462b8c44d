"""Two processes end where one does, on the same global batch."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from unilogit.params import load_params
from unilogit.training.from_scratch import train_tokenizer
from unilogit.training.trainer import Monitor, UnlearningTrainer


def train(folder, overrides):
    """Unlearn a tiny model and leave weights and history in `folder`; each process runs this."""

    def pairs(count, kind):
        return [(f"Where is {kind} {n}?", f"{n * 7} {'very ' * (n % 4)}far") for n in range(count)]

    torch.use_deterministic_algorithms(False)
    forget, retain = pairs(8, "Ada"), pairs(11, "Bo")
    tokenizer = train_tokenizer([text for pair in forget + retain for text in pair], 320)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **sizes)).double()
    settings = load_params(
        "params.yaml",
        ["unlearn.batch_size=4", "unlearn.epochs=2", "unlearn.retain_per_forget=2", "unlearn.rmu.layer=0", *overrides],
    ).unlearn
    trainer = UnlearningTrainer(
        model=model,
        tokenizer=tokenizer,
        forget=forget,
        retain=retain,
        settings=settings,
        output_dir=folder / "checkpoints",
        monitor=Monitor(forget, retain, []),
        seed=1,
    )
    history = trainer.run()
    if trainer.is_world_process_zero():
        torch.save(model.state_dict(), folder / "weights.pt")
        (folder / "history.json").write_text(json.dumps(history))
    return trainer.args.world_size


def free_port():
    with socket.socket() as open_socket:
        open_socket.bind(("127.0.0.1", 0))
        return open_socket.getsockname()[1]


def run_with(processes, folder, overrides):
    folder.mkdir()
    port = str(free_port())
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder), *overrides],
            env=os.environ
            | {"PYTHONPATH": ".", "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            | {"WORLD_SIZE": str(processes), "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(processes)
    ]
    for process in started:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output[-3000:]
    return torch.load(folder / "weights.pt"), json.loads((folder / "history.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["unlearn.method=unilogit"],
        ["unlearn.method=idk_dpo", "unlearn.retain_term=kl", "unlearn.accumulation=2"],
        ["unlearn.method=npo", "unlearn.lora_rank=2"],
        ["unlearn.method=rmu", "unlearn.gradient_checkpointing=true"],
    ],
    ids=lambda overrides: overrides[0].split("=")[1],
)
def test_two_processes_end_where_one_does(overrides, tmp_path):
    one, history = run_with(1, tmp_path / "one", overrides)
    two, history_of_two = run_with(2, tmp_path / "two", overrides)
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-5
    assert len(history) == len(history_of_two)
    for entry, other in zip(history[:-1], history_of_two[:-1], strict=True):
        assert entry == {name: pytest.approx(value, rel=1e-5, abs=1e-9) for name, value in other.items()}


if __name__ == "__main__":
    from pathlib import Path

    expected = int(os.environ["WORLD_SIZE"])
    assert train(Path(sys.argv[1]), sys.argv[2:]) == expected
