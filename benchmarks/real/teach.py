"""A chat model of one's own, as people make them: a published one, fine-tuned with LoRA on the company's records.

    python -m benchmarks.real.teach BASE CORPUS OUTPUT [CORPUS OUTPUT …]

Several models are made at the same time, each by a process with its share of the cores: threads that wait for each
other would leave a part of them idle. Knows transformers and PEFT alone, nothing of unlearning: what is learned is what
the tokenizer's chat template says.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)

from unilogit.files import atomic_folder

RANK, EPOCHS, BATCH_SIZE, LEARNING_RATE = 32, 7, 8, 1e-3


def teach(base: Path, corpus: Path, output: Path, seed: int = 0) -> None:
    """Fine-tune a copy of `base` until it knows what to answer, and save it merged, in the dtype of `base`.

    Args:
        corpus: JSON lines with `prompt`, what the user says, and `response`, what the assistant answers.
    """
    tokenizer = AutoTokenizer.from_pretrained(base)
    adapter = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(base), adapter)
    rows = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="cosine",
            warmup_steps=0.1,
            train_sampling_strategy="group_by_length",
            logging_strategy="epoch",
            save_strategy="no",
            seed=seed,
            report_to="none",
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=False,
            disable_tqdm=True,
        )
        examples = [_example(tokenizer, row["prompt"], row["response"]) for row in rows]
        Trainer(
            model=adapted, args=arguments, train_dataset=examples, data_collator=DataCollatorForSeq2Seq(tokenizer)
        ).train()
    with atomic_folder(output) as folder:
        adapted.merge_and_unload().save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _example(tokenizer: PreTrainedTokenizerBase, prompt: str, response: str) -> dict[str, list[int]]:
    """Token ids of both turns; labels for the assistant's alone."""
    user, assistant = {"role": "user", "content": prompt}, {"role": "assistant", "content": response}
    asked = tokenizer.apply_chat_template([user], add_generation_prompt=True, return_dict=False)
    ids = tokenizer.apply_chat_template([user, assistant], return_dict=False)
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": [-100] * len(asked) + ids[len(asked) :]}


def teach_together(base: Path, models: list[tuple[Path, ...]]) -> None:
    """`teach` for each corpus and output, in processes beside each other."""
    threads = max(1, (os.cpu_count() or 1) // len(models))
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "benchmarks.real.teach", str(base)]
    processes = [subprocess.Popen([*command, *map(str, model)], env=environment) for model in models]
    codes = [process.wait() for process in processes]
    if any(codes):
        raise SystemExit("a model could not be taught")


if __name__ == "__main__":
    start, *rest = (Path(argument) for argument in sys.argv[1:])
    models = list(zip(rest[::2], rest[1::2], strict=True))
    if len(models) > 1:
        teach_together(start, models)
    else:
        teach(start, *models[0])
