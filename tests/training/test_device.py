"""The device that a stage takes."""

import pytest
import torch

from vadistill.errors import InputError
from vadistill.training import driver
from vadistill.training.device import autocast, pick_device
from vadistill.training.driver import gpu_driver

VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  525.147.05  Wed Oct 25 20:27:35 UTC 2023\nGCC version: 12\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n"


@pytest.fixture
def with_gpu(tmp_path, monkeypatch):
    """A machine whose GPU torch does not reach."""
    (tmp_path / "gpus/0000:00:1e.0").mkdir(parents=True)
    (tmp_path / "version").write_text(VERSION)
    monkeypatch.setattr(driver, "NVIDIA", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def test_a_gpu_whose_cuda_does_not_come_up_is_an_error(with_gpu, monkeypatch):
    with pytest.raises(
        InputError, match=r"there is a GPU, and CUDA does not come up .*CUDA 13\.0, driver 525\.147\.05"
    ):
        pick_device()
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert pick_device() == torch.device("cpu")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.version, "cuda", None)  # a build without CUDA is somebody's wish
    assert pick_device() == torch.device("cpu")


def test_every_process_needs_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="4 processes are to train on a GPU each, found 2; expected gpus: 2"):
        pick_device()


def test_drivers_are_told_apart(with_gpu):
    assert gpu_driver() == "525.147.05"
    (with_gpu / "version").write_text(OPEN)
    assert gpu_driver() == "580.65.06"
    (with_gpu / "version").write_text("new words")
    assert gpu_driver() == "of unknown version"
    (with_gpu / "gpus/0000:00:1e.0").rmdir()
    assert gpu_driver() is None
    (with_gpu / "gpus").rmdir()
    assert gpu_driver() is None


def test_float32_is_float32():
    torch.backends.cudnn.allow_tf32 = True
    pick_device()
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


def test_convolutions_are_tuned_for_one_shape_where_nobody_asks_for_determinism(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    for fixed, deterministic, tuned in ((True, False, True), (False, False, False), (True, True, False)):
        monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda asked=deterministic: asked)
        assert pick_device(fixed_shapes=fixed) == torch.device("cuda", 0)
        assert torch.backends.cudnn.benchmark == tuned


def test_bfloat16_is_for_gpus_that_compute_in_it(monkeypatch):
    for native in (False, True):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        for precision, used in (("auto", native), ("float32", False)):
            # Without a GPU torch itself turns the context off, with a warning; what is asked of it counts.
            asked = []
            monkeypatch.setattr(torch, "autocast", lambda kind, dtype, enabled, asked=asked: asked.append(enabled))
            autocast(torch.device("cuda"), precision=precision)
            assert asked == [used]
