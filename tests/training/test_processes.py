"""Two processes end where one does, on the same global batch."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from accelerate import DistributedType, PartialState
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from unilogit.params import load_params
from unilogit.training.from_scratch import train_tokenizer
from unilogit.training.trainer import Monitor, UnlearningTrainer


def shard_on_processors():
    """PyTorch shards on CPUs too, but accelerate takes that for a mistake."""
    initialise = PartialState.__init__

    def pretend(self, *arguments, **options):
        initialise(self, *arguments, **options)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = pretend


class Stop(TrainerCallback):
    """A kill, as far as what is on disk goes."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            os._exit(9)


def train(folder, overrides):
    """Unlearn a tiny model and leave weights and history in `folder`; each process runs this."""

    def pairs(count, kind):
        return [(f"Where is {kind} {n}?", f"{n * 7} {'very ' * (n % 4)}far") for n in range(count)]

    torch.use_deterministic_algorithms(False)
    if "ACCELERATE_USE_FSDP" in os.environ:
        shard_on_processors()
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
    assert trainer.is_fsdp_enabled == ("ACCELERATE_USE_FSDP" in os.environ)
    if "STOP_AT" in os.environ:
        trainer.add_callback(Stop(int(os.environ["STOP_AT"])))
    history = trainer.run()
    if trainer.is_world_process_zero():
        torch.save(trainer.model.state_dict(), folder / "weights.pt")
        (folder / "history.json").write_text(json.dumps(history))
    return trainer.args.world_size


def free_port():
    with socket.socket() as open_socket:
        open_socket.bind(("127.0.0.1", 0))
        return open_socket.getsockname()[1]


SHARDED = {  # what `accelerate launch --use_fsdp` sets
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "LlamaDecoderLayer",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}


def run_with(processes, folder, overrides, **environment):
    folder.mkdir(exist_ok=True)
    port = str(free_port())
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder), *overrides],
            env=os.environ
            | environment
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
        assert process.returncode == (9 if "STOP_AT" in environment else 0), output[-3000:]
    if "STOP_AT" in environment:
        return None
    return torch.load(folder / "weights.pt"), json.loads((folder / "history.json").read_text())


def agree(run_of_one, run_of_two):
    (one, history), (two, history_of_two) = run_of_one, run_of_two
    assert one.keys() == two.keys()
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-5
    assert len(history) == len(history_of_two)
    for entry, other in zip(history[:-1], history_of_two[:-1], strict=True):
        assert entry == {name: pytest.approx(value, rel=1e-5, abs=1e-9) for name, value in other.items()}


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
    agree(run_with(1, tmp_path / "one", overrides), run_with(2, tmp_path / "two", overrides))


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["unlearn.method=unilogit", "unlearn.gradient_checkpointing=true"],
        ["unlearn.method=npo", "unlearn.retain_term=kl", "unlearn.lora_rank=2"],
    ],
    ids=lambda overrides: overrides[0].split("=")[1],
)
def test_two_processes_that_share_the_weights_end_where_one_does(overrides, tmp_path):
    run_with(2, tmp_path / "two", overrides, **SHARDED, STOP_AT="3")
    agree(run_with(1, tmp_path / "one", overrides), run_with(2, tmp_path / "two", overrides, **SHARDED))


if __name__ == "__main__":
    from pathlib import Path

    expected = int(os.environ["WORLD_SIZE"])
    assert train(Path(sys.argv[1]), sys.argv[2:]) == expected
