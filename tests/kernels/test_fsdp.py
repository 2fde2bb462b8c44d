"""The one-pass loss inside a fully sharded module: two processes against one."""

import pytest
import torch
from torch import distributed, multiprocessing, nn

from tests.kernels.test_fused import IDS, TARGET, Tied, model_gradients
from unilogit.kernels import every_row, fused_target_loss


def sharded_gradients(rank, folder):
    from torch.distributed.fsdp import fully_shard

    store = distributed.FileStore(f"{folder}/store", 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    mesh = distributed.init_device_mesh("cpu", (2,))
    model = fully_shard(Tied(), mesh=mesh)
    half = slice(0, 3) if rank == 0 else slice(3, 5)
    model(IDS[half], TARGET[half]).backward()
    gradients = [parameter.grad.full_tensor() for parameter in model.parameters()]
    if rank == 0:
        torch.save(gradients, f"{folder}/gradients.pt")
    distributed.destroy_process_group()


def test_sharded_module_with_a_tied_head(tmp_path):
    multiprocessing.spawn(sharded_gradients, (str(tmp_path),), nprocs=2)
    model = Tied()
    truths = model_gradients(model, lambda: model(IDS, TARGET) / 2)  # FSDP averages over the processes
    for result, truth in zip(torch.load(tmp_path / "gradients.pt"), truths, strict=True):
        torch.testing.assert_close(result, truth, rtol=1e-5, atol=1e-6)


def test_a_sharded_weight_is_refused():
    class Sharded(nn.Parameter):
        def full_tensor(self):
            raise AssertionError

    with pytest.raises(TypeError, match="FSDP"):
        fused_target_loss(
            torch.zeros(1, 3), Sharded(torch.zeros(5, 3)), torch.tensor([0]), every_row(lambda scores: scores.log_p)
        )
