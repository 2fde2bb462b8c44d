"""A small Llama and its tokenizer, trained from nothing on corpus records.

For the example's model and for retain models of models small enough to retrain.
Knows nothing of unlearning.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from unilogit.data.prompt_format import AUTO, with_prompt_format
from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import Encoded, collate, encode_all
from unilogit.model import context_length, save_model
from unilogit.training.arguments import use_one_device
from unilogit.training.config import TrainConfig
from unilogit.training.progress import show_progress

START, END, PAD = "<s>", "</s>", "<pad>"


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with `<s>`, which it puts before a text, `</s>` and `<pad>`.

    Args:
        vocabulary: entries at the most.
    """
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
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", pair=f"{START} $A {START} $B", special_tokens=[(START, tokenizer.token_to_id(START))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=PAD, padding_side="right"
    )


def train_from_scratch(
    records: Sequence[CorpusRecord],
    output: Path | str,
    config: TrainConfig,
    *,
    seed: int,
    max_length: int,
    architecture: Path | str | None = None,
    prompt_format: str = AUTO,
    system_prompt: str | None = None,
) -> list[dict[str, float]]:
    """Train on every record's prompt and response and save the model as a Hugging Face folder.

    One process, on one GPU if there is any: a retain model must not depend on how many there are.

    Args:
        records: the training set; responses that do not fit in max_length are trained on in windows.
        output: the folder, written whole or not at all.
        config: how to train; of the model's size only what `architecture` leaves open.
        seed: of initial weights and data order.
        max_length: tokens of prompt and response together; also the model's context.
        architecture: a model whose tokenizer and architecture (not weights) are taken, as a retain model needs.
        prompt_format, system_prompt: as of `with_prompt_format`.

    Returns:
        The history: a dict for each logged step.

    Raises:
        InputError: a record does not fit in max_length.
    """
    set_seed(seed)
    tokenizer, model = (
        _new_model(records, config, max_length) if architecture is None else _new_model_like(architecture)
    )
    windows = encode_all(
        with_prompt_format(tokenizer, prompt_format, system_prompt),
        [record.context for record in records],
        [record.response for record in records],
        context_length(model, max_length),
        [record.record_id for record in records],
    )
    examples = [{"input_ids": ids, "start": [start]} for parts in windows for ids, start in parts]
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=config.batch_size,
            num_train_epochs=config.epochs,
            learning_rate=config.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            weight_decay=0.0,
            optim="adamw_torch",
            train_sampling_strategy="group_by_length",
            logging_steps=max(1, len(examples) // config.batch_size),
            save_strategy="no",
            seed=seed,
            remove_unused_columns=False,
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),
        )
        use_one_device(arguments)
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=examples,
            data_collator=partial(_collate, pad_token_id=tokenizer.pad_token_id),
            processing_class=tokenizer,
        )
        show_progress(trainer, "train from scratch")
        trainer.train()
    model.config.use_cache = True  # Trainer has set it to its own argument
    save_model(model, tokenizer, output)
    return trainer.state.log_history


def _new_model(
    records: Sequence[CorpusRecord], config: TrainConfig, max_length: int
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    tokenizer = train_tokenizer(
        [
            text
            for record in records
            for text in (*filter(None, [record.system]), *record.history, record.prompt, record.response)
        ],
        config.vocabulary,
    )
    sizes = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.hidden_size * 3,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=max_length,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer, LlamaForCausalLM(sizes)


def _new_model_like(name: Path | str) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name)
    return tokenizer, AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(name), dtype=torch.float32)


def _collate(batch: Sequence[dict[str, list[int]]], pad_token_id: int | None) -> dict[str, Tensor]:
    return collate([Encoded(example["input_ids"], *example["start"]) for example in batch], pad_token_id)
