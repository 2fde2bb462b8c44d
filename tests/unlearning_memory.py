"""What memory a process holds before, while and after it unlearns a model of 26 million weights."""

from pathlib import Path

import pandas as pd
import psutil
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tasks.params import load_params
from tasks.steps.unlearn import unlearn_into
from tasks.workspace import Place, Workspace
from tests.peak import peak_memory
from tests.tasks.steps.prepare import put_parent, put_targets
from unilogit.files import write_parquet
from unilogit.memory import give_back
from unilogit.training.from_scratch import train_tokenizer
from unilogit.training.trainer import UnlearningTrainer

PARAMS = Path(__file__).parents[1] / "params.yaml"
FEW = ["unlearn.epochs=1", "unlearn.min_steps=4", "model.max_length=256"]
MIB = 1 << 20


def rows(kind: str, count: int, **extra: str) -> list[dict[str, object]]:
    said = [f"{kind} number {n} wrote {n * 13} pages in the year {n % 30 + 1980}. " * 3 for n in range(count)]
    return [
        {"record_id": f"{kind}-{n}", "subject_ids": [kind], "prompt": f"What of {n}?", "response": text, **extra}
        for n, text in enumerate(said)
    ]


def report(folder: str) -> None:
    """Print, in MiB: what the process has before and afterwards, the most meanwhile, and the weights in float32."""
    workspace = Workspace(Path(folder))
    sets = {
        Place.FORGET: rows("forgotten", 16, batch="current"),
        Place.RETAIN: rows("retained", 32),
        Place.HOLDOUT: rows("unseen", 8, use="stop"),
        Place.NEIGHBOURS: rows("retained", 4),
    }
    for place, records in sets.items():
        write_parquet(workspace.path(place), pd.DataFrame(records))
    model = workspace.root / "parent"
    weights = save(model, [str(row["response"]) for records in sets.values() for row in records])
    put_parent(workspace, model)
    put_targets(workspace)
    assert UnlearningTrainer  # what is imported is not what training takes
    give_back()
    before = psutil.Process().memory_info().rss
    unlearn_into(workspace, workspace, load_params(PARAMS, FEW))
    afterwards = psutil.Process().memory_info().rss
    peak = peak_memory()
    print(before / MIB, peak / MIB, afterwards / MIB, weights / MIB)


def save(folder: Path, texts: list[str]) -> int:
    tokenizer = train_tokenizer(texts, 500)
    torch.manual_seed(0)
    shape = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8}
    special = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape, **special))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(parameter.numel() * 4 for parameter in model.parameters())
