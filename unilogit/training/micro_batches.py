"""How many parts a step is worked through in where memory decides: `accumulation` "auto".

By what training needs (unilogit/bill.py) and what the device has in all, not what is free at the moment: the same run
on the same machine has the same parts, and so the same rounding.
"""

import copy
import logging
from typing import TYPE_CHECKING, cast

from transformers import PreTrainedModel, TrainingArguments

from unilogit.adapters import unwrapped
from unilogit.bill import fewest_parts, outline_built
from unilogit.memory import total_memory
from unilogit.training.config import UnlearnConfig
from unilogit.training.examples import PairedExamples
from unilogit.wrappers import weights_are_shared_out

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

SHARE = 0.8  # of a device's memory that training may take

log = logging.getLogger(__name__)


def memory_of_process(total: int, processes: int, on_gpu: bool) -> int:
    """Bytes that a process may train in, where a device has so many: processes share the CPU's, and have a GPU each."""
    return int(SHARE * total) // (1 if on_gpu else processes)


def find_accumulation(
    model: "PreTrainedModel | PeftModel",
    config: UnlearnConfig,
    examples: PairedExamples,
    starts_apart: bool,
    arguments: TrainingArguments,
) -> int:
    """The fewest parts of one size that a process can take its share of every step in.

    Args:
        model: as it is given to be trained, before anything is added.
        starts_apart: as in `training_memory`.
        arguments: of the run: its device, processes and dtype.
    """
    groups = config.batch_size // arguments.world_size
    if groups == 1:
        return 1
    base, on_gpu = unwrapped(model), arguments.device.type == "cuda"
    adapter = None if base is model else cast("LoraConfig", model.peft_config["default"])
    spliced = [splice for splices in examples.splices for splice in splices]
    rows = 1 + bool(examples.preferred) + bool(spliced) + examples.retain_per_forget
    everything = (*examples.forget, *examples.preferred, *spliced, *examples.retain)
    length = max(len(example.ids) for example in everything)
    outlined = outline_built(
        lambda dtype: type(base)._from_config(copy.deepcopy(base.config), dtype=dtype),
        base.dtype,
        config,
        adapter,
        rows=rows,
        length=length,
        bf16=arguments.bf16,
    )
    parts = fewest_parts(
        outlined,
        config,
        groups=groups,
        tokens=rows * length,
        memory=memory_of_process(total_memory(arguments.device), arguments.world_size, on_gpu),
        on_gpu=on_gpu,
        shares=arguments.world_size if weights_are_shared_out() else 1,
        further=adapter is not None,
        starts_apart=starts_apart,
    )
    if parts > 1:
        log.info("a step of %d examples is worked through in %d parts, as memory allows", groups, parts)
    return parts
