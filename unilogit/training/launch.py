"""One training run in several processes: how many, whether they share the weights, and running them.

Without GPUs there is one process unless more are asked for; with GPUs one for each. Knows torch's launcher and the
variables by which accelerate learns of FSDP; knows nothing of what the processes do.
"""

import codecs
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Literal

from unilogit.errors import InputError

BYTES_PER_PARAMETER = 16  # in float32: a weight, its gradient, both moments of AdamW
SHARE_FOR_WEIGHTS = 0.8  # of a GPU's memory; the rest is for activations
FSDP_ENVIRONMENT = {  # how accelerate is told of FSDP2
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",  # a unit for each layer, as the model names its layers
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",  # one process reads the weights and hands them on
}
_LAST_LINES = 20


@dataclass(frozen=True)
class LaunchPlan:
    """How a training run is spread.

    Attributes:
        processes: how many there are; 1 means that this process trains.
        fsdp: whether they share weights, gradients and optimizer state instead of having a copy each.
        reason: why, in one sentence.
    """

    processes: int
    fsdp: bool
    reason: str


def plan_launch(
    parameters: int,
    gpus: Sequence[int],
    processes: int | Literal["auto"],
    sharding: Literal["auto", "none", "fsdp"],
    batch_size: int,
    accumulation: int,
    *,
    bytes_per_parameter: int = BYTES_PER_PARAMETER,
) -> LaunchPlan:
    """Decide how many processes train, and whether they share the weights.

    Args:
        parameters: of the model.
        gpus: the memory of each GPU, in bytes; empty without GPUs.
        processes: "auto" is one for each GPU, or the most GPUs that can share the batch evenly; 1 without GPUs.
        sharding: "auto" shares the weights among several GPUs where one cannot hold the training of the model.
        batch_size, accumulation: forget examples of a step, and the micro-batches that a process takes them in.
        bytes_per_parameter: what training needs on a GPU; 4 where adapters alone are trained.

    Raises:
        InputError: the processes cannot share the batch, there are not enough GPUs, or nothing to shard over.
    """
    if processes == "auto":
        even = [count for count in range(1, len(gpus) + 1) if batch_size % (count * accumulation) == 0]
        count = max(even, default=1)
    else:
        count = processes
    if problems := list(_problems(count, gpus, processes, sharding, batch_size, accumulation)):
        raise InputError(*problems)
    if not gpus:
        return LaunchPlan(count, False, f"{_processes(count)} on the CPU")
    needed, memory = parameters * bytes_per_parameter, min(gpus[:count])
    fits = needed <= SHARE_FOR_WEIGHTS * memory
    fsdp = sharding == "fsdp" or (sharding == "auto" and count > 1 and not fits)
    reason = f"{_processes(count)}, {count} of {len(gpus)} GPUs"
    if processes == "auto" and count < len(gpus):
        reason += (
            f" (no more can share unlearn.batch_size {batch_size} with unlearn.accumulation {accumulation} evenly)"
        )
    reason += ", sharing the weights (FSDP)" if fsdp else ", each with all weights" if count > 1 else ""
    share = needed / count if fsdp else needed
    reason += f": training needs {_gb(needed)} beside activations and a GPU has {_gb(memory)}"
    if share > SHARE_FOR_WEIGHTS * memory:
        reason += "; that is too little, so expect it to run out: set unlearn.lora_rank, or use more or larger GPUs"
    return LaunchPlan(count, fsdp, reason)


def _problems(
    count: int,
    gpus: Sequence[int],
    processes: int | Literal["auto"],
    sharding: str,
    batch_size: int,
    accumulation: int,
) -> Iterator[str]:
    if batch_size % (count * accumulation):
        yield (
            f"unlearn.batch_size is {batch_size}, which unlearn.processes {processes} with unlearn.accumulation "
            f"{accumulation} cannot share; make it a multiple of {count * accumulation}"
        )
    if gpus and count > len(gpus):
        yield f"unlearn.processes is {count}, but there are {len(gpus)} GPUs; make it auto, or at most {len(gpus)}"
    if sharding == "fsdp" and not gpus:
        yield "unlearn.sharding is fsdp, which needs GPUs, and there are none; make it auto"
    elif sharding == "fsdp" and count == 1:
        yield "unlearn.sharding is fsdp, but one process has nobody to share the weights with; make it auto"


def gpu_memory() -> list[int]:
    """The memory of each GPU that torch sees, in bytes."""
    import torch

    return [torch.cuda.get_device_properties(gpu).total_memory for gpu in range(torch.cuda.device_count())]


def count_parameters(model: str) -> int:
    """How many parameters a causal language model has, tied ones once; its weights are not read.

    Args:
        model: a Hugging Face folder or hub name; of an adapter's folder, its base's are counted.

    Raises:
        InputError: there is no configuration of such a model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from unilogit.adapters import base_of
    from unilogit.model import why_no_model

    try:
        with torch.device("meta"):
            empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base_of(model)))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{model}: no causal language model can be loaded from there ({why_no_model(error)})"
        ) from None
    return sum(parameter.numel() for parameter in empty.parameters())


def is_launched() -> bool:
    """Whether this process is one of several that a launcher (this one, torchrun, accelerate) started."""
    return "LOCAL_RANK" in os.environ


def launch(plan: LaunchPlan, arguments: Sequence[str]) -> None:
    """Run `python *arguments` in `plan.processes` processes on this machine, and wait for their end.

    Standard output goes where this process's goes, and so does standard error, as it comes. SIGTERM and SIGINT are
    handed on, and take effect here when the processes have ended; that needs the main thread. If this process is
    killed, they are too (on Linux). Threads are shared out among them unless OMP_NUM_THREADS says how many each has.

    Args:
        arguments: what follows `python`, such as ["-m", "tasks.steps.unlearn", "--workspace", "…"].

    Raises:
        InputError: a process ended with exit code 2; its lines that begin with "error: " are the problems.
        RuntimeError: they failed otherwise.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    environment = {"OMP_NUM_THREADS": str(max(1, cores // plan.processes))} | os.environ
    if plan.fsdp:
        environment |= FSDP_ENVIRONMENT
    ours, theirs = _channel()
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "unilogit.training.supervise", str(os.getpid()), str(plan.processes), *arguments],
        env=environment,
        stderr=theirs,
        process_group=0,
    )
    os.close(theirs)
    problems: dict[str, None] = {}
    last: deque[str] = deque(maxlen=_LAST_LINES)
    try:
        with _handed_on(supervisor):
            for line in _lines(ours):
                last.append(line)
                if line.startswith("error: "):
                    problems[line.removeprefix("error: ")] = None  # once, though every process says it
            code = supervisor.wait()
    finally:
        supervisor.kill()  # not there any more, unless something went wrong here
        supervisor.wait()
        os.close(ours)
    if code == 2 and problems:
        raise InputError(*problems)
    if code:
        raise RuntimeError(f"{' '.join(arguments)} failed in {_processes(plan.processes)}:\n" + "\n".join(last))


def _channel() -> tuple[int, int]:
    """Both ends of what carries standard error: a terminal where ours is one, so that bars stay bars."""
    if not sys.stderr.isatty():
        return os.pipe()
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, termios.tcgetwinsize(sys.stderr.fileno()))
    return ours, theirs


def _lines(descriptor: int) -> Iterator[str]:
    """Lines as they end, empty ones left out; all that is read goes to standard error at once."""
    decoder, rest = codecs.getincrementaldecoder("utf-8")("replace"), ""
    while part := _read(descriptor):
        text = decoder.decode(part)
        sys.stderr.write(text)
        sys.stderr.flush()
        *lines, rest = (rest + text).replace("\r", "\n").split("\n")
        yield from filter(None, lines)
    if rest:
        yield rest


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # how a terminal ends whose other side is closed
        return b""


@contextmanager
def _handed_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Within, SIGTERM and SIGINT go to the process; what they would have done here happens in the end."""
    received: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        process.send_signal(number)

    handed = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, hand_on) for number in handed}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


def _processes(count: int) -> str:
    return "one process" if count == 1 else f"{count} processes"


def _gb(count: float) -> str:
    return f"{count / 1e9:.3g} GB"
