"""A small Llama and its tokenizer, trained from nothing on corpus records.

For the example's model and for golden targets (retain models) of models small enough to retrain.
Knows nothing of unlearning.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import collate, encode_pair
from unilogit.params import Train
from unilogit.training.progress import show_progress

START, END, PAD = "<s>", "</s>", "<pad>"


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with `<s>`, `</s>` and `<pad>`; of `vocabulary` entries at the most."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=PAD, padding_side="right"
    )


def train_from_scratch(
    records: Sequence[CorpusRecord],
    output: Path,
    settings: Train,
    *,
    seed: int,
    max_length: int,
    like: Path | str | None = None,
) -> list[dict[str, float]]:
    """Train on every record's prompt and response and save the model as a Hugging Face folder.

    Args:
        records: the training set.
        output: the folder to fill.
        settings: the `train` section of params.yaml.
        seed: of initial weights and data order.
        max_length: tokens of prompt and response together; also the model's context.
        like: a model whose tokenizer and architecture (not weights) are taken, as a golden target needs.

    Returns:
        The history: a dict for each logged step.
    """
    set_seed(seed)
    if like is None:
        tokenizer: Any = train_tokenizer(
            [text for r in records for text in (r.prompt, r.response)], settings.vocabulary
        )
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=settings.hidden_size,
                intermediate_size=settings.hidden_size * 3,
                num_hidden_layers=settings.layers,
                num_attention_heads=settings.heads,
                max_position_embeddings=max_length,
                tie_word_embeddings=True,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    else:
        from transformers import AutoModelForCausalLM

        tokenizer = AutoTokenizer.from_pretrained(like)
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(like), dtype=torch.float32)
    examples = [
        dict(
            zip(
                ("input_ids", "start"),
                encode_pair(tokenizer, r.prompt, r.response, max_length=max_length),
                strict=True,
            )
        )
        for r in records
    ]
    arguments = TrainingArguments(
        output_dir=str(output / "trainer"),
        per_device_train_batch_size=settings.batch_size,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        weight_decay=0.0,
        optim="adamw_torch",
        train_sampling_strategy="group_by_length",
        logging_steps=max(1, len(examples) // settings.batch_size),
        save_strategy="no",
        seed=seed,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=examples,
        data_collator=lambda batch: collate([(e["input_ids"], e["start"]) for e in batch], tokenizer.pad_token_id),
        processing_class=tokenizer,
    )
    show_progress(trainer, "train from scratch")
    trainer.train()
    shutil.rmtree(arguments.output_dir or "", ignore_errors=True)
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    return trainer.state.log_history
