"""Two processes end where one does, on the same global batch, whatever the sizes and however they hold the weights."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from accelerate import DistributedType, PartialState
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from tests.adapted import save_random_adapter
from unilogit.losses.rmu import Rmu
from unilogit.model import load_adapted, load_model
from unilogit.training.config import UnlearnConfig
from unilogit.training.from_scratch import train_tokenizer
from unilogit.training.launch import FSDP_ENVIRONMENT as SHARDED
from unilogit.training.stopping import Monitor
from unilogit.training.trainer import UnlearningTrainer


def shard_on_processors():
    """PyTorch shards on CPUs too, but accelerate takes that for a mistake."""
    initialise = PartialState.__init__

    def pretend(self, *arguments, **options):
        initialise(self, *arguments, **options)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = pretend


class Stop(TrainerCallback):
    """A kill, as far as what is on disk goes: after a step, or after its checkpoint."""

    def __init__(self, step, saved_step):
        self.step, self.saved_step = step, saved_step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            os._exit(9)

    def on_save(self, args, state, control, **kwargs):
        if state.global_step == self.saved_step:
            os._exit(9)


def pairs(count, kind):
    return [(f"Where is {kind} {n}?", f"{n * 7} {'very ' * (n % 4)}far") for n in range(count)]


def save_model(folder, dtype):
    tokenizer = train_tokenizer([text for pair in pairs(8, "Ada") + pairs(11, "Bo") for text in pair], 320)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **sizes))
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def train(folder, size, knobs):
    """Unlearn the model that lies in `folder` and leave weights and history there; each process runs this."""
    torch.use_deterministic_algorithms(False)
    is_sharded = "ACCELERATE_USE_FSDP" in os.environ
    if is_sharded:
        shard_on_processors()
    own = folder / "adapter"
    model, tokenizer = load_adapted(str(own)) if own.exists() else load_model(str(folder / "model"), own_dtype=True)
    forget, retain = pairs(size, "Ada"), pairs(11, "Bo")
    config = UnlearnConfig(
        **{
            "batch_size": 4,
            "epochs": 2,
            "min_steps": 1,
            "checkpoint_minutes": 0,
            "retain_per_forget": 2,
            "rmu": Rmu(layer=0),
        }
        | knobs
    )
    trainer = UnlearningTrainer(
        model=model,
        tokenizer=tokenizer,
        forget=forget,
        retain=retain,
        config=config,
        output_dir=folder / "checkpoints",
        monitor=Monitor(forget, retain, forget if "retain_recovery" in knobs else ()),  # stops at once, or never
        seed=1,
    )
    assert trainer.is_fsdp_enabled == is_sharded
    if is_sharded:  # nothing puts a whole model on this process's device
        assert not trainer.place_model_on_device
    trainer.add_callback(Stop(int(os.environ.get("STOP_AT", "0")), int(os.environ.get("STOP_AFTER_SAVING", "0"))))
    history = trainer.run()
    if trainer.is_world_process_zero():
        torch.save(trainer.model.state_dict(), folder / "weights.pt")
        (folder / "history.json").write_text(json.dumps(history))
    return trainer.args.world_size


def free_port():
    with socket.socket() as open_socket:
        open_socket.bind(("127.0.0.1", 0))
        return open_socket.getsockname()[1]


def run_with(processes, folder, knobs, size=8, dtype="float64", **environment):
    if not folder.exists():
        save_model(folder / "model", dtype)
    port = str(free_port())
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder), str(size), json.dumps(knobs)],
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
    is_killed = bool({"STOP_AT", "STOP_AFTER_SAVING"} & environment.keys())
    for process in started:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == (9 if is_killed else 0), output[-3000:]
    if is_killed:
        return None
    return torch.load(folder / "weights.pt"), json.loads((folder / "history.json").read_text())


@pytest.mark.slow
def test_two_processes_train_a_given_adapter_further_as_one_does(tmp_path):
    knobs, runs = {"method": "npo", "retain_term": "kl", "accumulation": 2}, []
    for processes, folder in ((1, tmp_path / "one"), (2, tmp_path / "two")):
        save_model(folder / "model", "float64")
        save_random_adapter(folder / "adapter", folder / "model")
        runs.append(run_with(processes, folder, knobs, size=7))
    agree(*runs)


def agree(run_of_one, run_of_two, tolerance=1e-5):
    (one, history), (two, history_of_two) = run_of_one, run_of_two
    assert one.keys() == two.keys()
    assert {name: tensor.dtype for name, tensor in one.items()} == {name: tensor.dtype for name, tensor in two.items()}
    assert max((one[name].double() - two[name].double()).abs().max().item() for name in one) < tolerance
    assert len(history) == len(history_of_two)
    for entry, other in zip(history, history_of_two, strict=True):
        if "train_runtime" in entry:
            continue
        assert entry == {name: pytest.approx(value, rel=tolerance, abs=1e-9) for name, value in other.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "knobs"),
    [
        (8, {"method": "unilogit"}),
        (5, {"method": "unilogit", "epochs": 1}),
        (7, {"method": "idk_dpo", "retain_term": "kl", "accumulation": 2}),
        (3, {"method": "npo", "lora_rank": 2, "epochs": 3}),
        (7, {"method": "npo_sam", "npo_sam": {"radius": 0.3}, "accumulation": 2}),
        (5, {"method": "npo_sam", "npo_sam": {"radius": 0.3}}),
        (5, {"method": "rmu", "gradient_checkpointing": True}),
    ],
    ids=str,
)
def test_two_processes_end_where_one_does(size, knobs, tmp_path):
    agree(run_with(1, tmp_path / "one", knobs, size), run_with(2, tmp_path / "two", knobs, size))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "knobs"),
    [
        (8, {"method": "unilogit", "gradient_checkpointing": True}),
        (7, {"method": "npo", "retain_term": "kl", "lora_rank": 2}),
        (5, {"method": "npo", "retain_term": "kl"}),
        (5, {"method": "undial", "retain_term": "kl", "accumulation": 2}),
    ],
    ids=str,
)
def test_two_processes_that_share_the_weights_end_where_one_does(size, knobs, tmp_path):
    run_with(2, tmp_path / "two", knobs, size, **SHARDED, STOP_AT="3")
    agree(run_with(1, tmp_path / "one", knobs, size), run_with(2, tmp_path / "two", knobs, size, **SHARDED))


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, SHARDED], ids=["whole", "shared"])
@pytest.mark.parametrize("lora_rank", [None, 2])
def test_a_kill_after_the_last_checkpoint_of_an_early_stop_changes_nothing(environment, lora_rank, tmp_path):
    knobs = {"method": "grad_diff", "pause_forgotten": False, "retain_recovery": 0.0, "learning_rate": 1e-2}
    knobs |= {"lora_rank": lora_rank}
    weights, history = run_with(2, tmp_path / "whole", knobs, **environment)
    assert history[-1]["step"] == 2  # of four
    run_with(2, tmp_path / "killed", knobs, **environment, STOP_AFTER_SAVING="2")
    resumed, history = run_with(2, tmp_path / "killed", knobs, **environment)
    assert history[-1]["step"] == 2
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, SHARDED], ids=["whole", "shared"])
def test_two_processes_end_with_the_nearest_epoch_as_one_does(environment, tmp_path):
    knobs = {"method": "gradient_ascent", "pause_forgotten": False, "retain_recovery": 1.0, "learning_rate": 1e-2}
    one = run_with(1, tmp_path / "one", knobs | {"epochs": 4})
    run_with(2, tmp_path / "two", knobs | {"epochs": 4}, **environment, STOP_AT="7")
    two = run_with(2, tmp_path / "two", knobs | {"epochs": 4}, **environment)
    assert one[1][-1]["kept_step"] == 2
    agree(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, SHARDED], ids=["whole", "shared"])
@pytest.mark.parametrize(
    "knobs", [{"learning_rate": 1e-4}, {"lora_rank": 2, "learning_rate": 1e-3}], ids=["weights", "adapters"]
)
def test_two_processes_train_a_16_bit_model_as_one_does(environment, knobs, tmp_path):
    one = run_with(1, tmp_path / "one", knobs, dtype="bfloat16")
    two = run_with(2, tmp_path / "two", knobs, dtype="bfloat16", **environment)
    assert {tensor.dtype for tensor in two[0].values()} == {torch.bfloat16}
    agree(one, two, tolerance=1e-2)


if __name__ == "__main__":
    from pathlib import Path

    expected = int(os.environ["WORLD_SIZE"])
    place, how_many, settings = sys.argv[1:]
    assert train(Path(place), int(how_many), json.loads(settings)) == expected
