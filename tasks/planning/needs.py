"""Bytes that each step needs of memory and disk, and what to change where a machine has less.

Knows params and what steps do; reads no weight, no corpus and no clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tasks.params import Params
from tasks.planning.machine import Machine
from tasks.steps.targets import has_targets
from tasks.steps.unlearn import plan_processes, trains_further

if TYPE_CHECKING:
    from unilogit.bill import Outline
    from unilogit.training.launch import LaunchPlan

CHECKPOINTS = 3  # that are there at a time: two are kept while another one is written
LORA_RANK = 16  # that is suggested


@dataclass(frozen=True)
class Need:
    """Of one step.

    Attributes:
        step: its name.
        memory: on the device, of all processes that share it, by what it is for.
        disk: under UNILOGIT_HOME, by what it is for.
        remedies: what to change where memory does not hold it, the most helpful first.
        parts: micro-batches that a process takes its share of an optimiser step in.
    """

    step: str
    memory: dict[str, int] = field(default_factory=dict)
    disk: dict[str, int] = field(default_factory=dict)
    remedies: tuple[str, ...] = ()
    parts: int = 1


@dataclass(frozen=True)
class Load:
    """What a process is given of an optimiser step of unlearning.

    Attributes:
        groups: forget examples, each with what stands beside it.
        rows: sequences of a group.
        length: tokens of the longest.
    """

    groups: int
    rows: int
    length: int


LEAST = Load(0, 0, 0)  # for what a run cannot do without, however short its records are


def share_of_step(params: Params, processes: int, longest: int) -> Load:
    """What each of so many processes is given by a run whose longest record has so many tokens."""
    from unilogit.training.setup import methods_of
    from unilogit.training.splices import BEGINNING

    config, spliced = params.unlearn, has_targets(params)
    methods = [] if config.method == "none" else methods_of(config)
    companions = config.retain_per_forget if len(methods) > 1 else 0
    better = bool(methods) and bool({"alternative", "idk"} & set(methods[0].needs))
    return Load(-(-config.batch_size // processes), 1 + better + spliced + companions, longest + BEGINNING * spliced)


def find_needs(params: Params, machine: Machine, load: Load | None, corpus_bytes: int = 0) -> list[Need]:
    """The needs of every step that loads a model or copies data, in their order.

    Args:
        load: what a process is given of a step; None leaves out all that depends on records.
        corpus_bytes: of the corpus' files.

    Raises:
        InputError: there is no base model, or it cannot be trained so.
    """
    needs = _Needs(params, machine, load, corpus_bytes).all()
    program = {"the program": machine.program} if machine.program else {}
    return [replace(need, memory=program | need.memory) if need.memory else need for need in needs]


class _Needs:
    def __init__(self, params: Params, machine: Machine, load: Load | None, corpus_bytes: int) -> None:
        from unilogit.bill import outline
        from unilogit.model import checkpoint_dtype
        from unilogit.training.precision import HALF

        self.params, self.machine, self.corpus_bytes = params, machine, corpus_bytes
        self.is_bounded = load is None
        self.load = load or LEAST
        self.on_gpu, base, config = bool(machine.gpus), params.model.base, params.unlearn
        self.further = trains_further(base, params)
        bf16 = config.bf16 is True or (config.bf16 == "auto" and self.on_gpu and checkpoint_dtype(base) in HALF)
        rows, length = self.load.rows, self.load.length
        group: Outline = outline(base, config, rows=rows, length=length, bf16=bf16, further=self.further)
        self.launch: LaunchPlan = plan_processes(base, params)
        self.shares = self.launch.processes if self.launch.fsdp else 1
        self.parts = 1 if self.is_bounded else self._parts(group)
        size = -(-self.load.groups // self.parts)
        self.tokens = size * rows * length
        self.model = replace(group, kept=size * group.kept, layer=size * group.layer)
        self.measured = self.model.saved if self.on_gpu else 4 * self.model.parameters  # weights that are not trained

    def _parts(self, group: "Outline") -> int:
        from unilogit.bill import fewest_parts
        from unilogit.training.micro_batches import memory_of_process

        config = self.params.unlearn
        if config.accumulation != "auto":
            return config.accumulation
        if config.method == "none":
            return 1
        return fewest_parts(
            group,
            config,
            groups=self.load.groups,
            tokens=self.load.rows * self.load.length,
            memory=memory_of_process(self.machine.memory, self.launch.processes, self.on_gpu),
            on_gpu=self.on_gpu,
            shares=self.shares,
            further=self.further,
            starts_apart=self.params.model.start is not None,
        )

    def all(self) -> Iterator[Need]:
        retain = self.params.model.retain
        yield Need("extract, store", disk={"the corpus in Parquet, DVC's cache and remote": 3 * self.corpus_bytes})
        parent = {"a version's files": self.model.saved}
        if self.params.model.start is not None:
            parent["those of the version to go on from"] = self.model.saved
        yield Need("parent", disk=parent)
        yield Need("familiarity", {"weights": self.measured, **self._batch(1)})
        if retain is not None:
            yield self._retain_model(retain)
        if has_targets(self.params):
            models = 1 if self.params.model.pretrained is None else 2
            yield Need("targets", {"weights": models * self.measured, **self._batch(models)})
        if self.params.unlearn.method != "none":
            yield self._unlearn()
        yield self._attack()
        yield self._evaluate(has_retain_model=retain is not None)
        copies = {"the logged version, and a copy while it is written": 2 * self._saved()}
        yield Need("register", {"weights": self.model.saved}, copies)

    def _saved(self) -> int:
        """Of what unlearning leaves: a whole model, or an adapter."""
        return 4 * self.model.trained if self.params.register_.save == "adapter" else self.model.saved

    def _batch(self, models: int) -> dict[str, int]:
        """Tokens that are scored or generated at once: no more than memory holds, so that it never is too much."""
        from unilogit.evaluation.batching import MOST_TOKENS, SHARE

        if self.is_bounded:
            return {}
        tokens = self.params.evaluate.batch_tokens
        left = max(0, int(SHARE * (self.machine.memory - models * self.measured)))
        wanted = (tokens or MOST_TOKENS) * self.model.token
        return {"a batch": wanted if tokens else min(left, wanted)}

    def _unlearn(self) -> Need:
        from unilogit.bill import training_memory

        memory = training_memory(
            self.model,
            self.params.unlearn,
            tokens=self.tokens,
            on_gpu=self.on_gpu,
            shares=self.shares,
            further=self.further,
            starts_apart=self.params.model.start is not None,
        )
        if self.is_bounded:
            memory = {name: size for name, size in memory.items() if name not in ("activations", "heap", "logits")}
        if not self.on_gpu:
            memory = {name: size * self.launch.processes for name, size in memory.items()}
        trained = 4 * self.model.trained
        disk = {f"{CHECKPOINTS} checkpoints, until it ends": CHECKPOINTS * 4 * trained, "the model": self._saved()}
        for method in self.params.evaluate.baselines:
            disk[f"the model of {method}"] = self.model.saved
        return Need("unlearn", memory, disk, tuple(self._remedies(memory)), self.parts)

    def _remedies(self, memory: dict[str, int]) -> Iterator[str]:
        config, by_records = self.params.unlearn, memory.get("activations", 0) + memory.get("heap", 0)
        if not self.model.has_adapter:
            yield f"unlearn.lora_rank ({LORA_RANK}) trains adapters alone"
        if by_records > sum(memory.values()) / 4:
            if not config.gradient_checkpointing:
                yield "unlearn.gradient_checkpointing: true keeps fewer activations"
            if self.parts < config.batch_size // self.launch.processes:
                yield f"unlearn.accumulation ({config.batch_size}) takes a step's examples one by one"
            yield "a smaller unlearn.retain_per_forget or model.max_length makes a step smaller"
        if memory.get("model before"):
            yield "a method or unlearn.retain_term that compares with no model before (nll) needs no second model"
        if config.bf16 is not True and self.on_gpu and by_records:
            yield "unlearn.bf16: true halves activations"
        yield "a machine with more memory"

    def _whole(self) -> dict[str, int]:
        from unilogit.bill import full_training_memory

        return full_training_memory(self.model)

    def _retain_model(self, retain: str) -> Need:
        if retain != "train":
            return Need("retain_model", {"weights": self.measured, **self._batch(1)})
        remedies = ("model.retain: the folder of one, or null", "a machine with more memory")
        return Need("retain_model", self._whole(), {"the model": 4 * self.model.parameters}, remedies)

    def _attack(self) -> Need:
        """The attack that needs most, beside the model itself."""
        from unilogit.evaluation.attacks.relearning import holds_copy

        attacks = self.params.evaluate.robustness.attacks
        memory, hardest = {"weights": self.measured, **self._batch(1)}, "quantisation"
        # Where memory does not hold it, relearning trains adapters.
        if "relearning" in attacks and holds_copy(self.model.parameters, self.measured, self.machine.memory):
            whole, hardest = self._whole(), "relearning"
            memory |= {"a copy to relearn": whole.pop("weights"), **whole}
        elif hardest in attacks:
            memory["a copy in fewer bits"] = self.measured
        remedies = (f"evaluate.robustness.attacks without {hardest}", "a machine with more memory")
        return Need("attack", memory, remedies=remedies)

    def _evaluate(self, has_retain_model: bool) -> Need:
        memory = {"weights": self.measured, "gradients, of one record": self.measured}
        if has_retain_model:
            memory["weights of the retain model"] = self.measured
        return Need("evaluate", memory | self._batch(2), remedies=("a machine with more memory",))
