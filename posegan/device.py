"""Which processor computes, and how the C library hands out its memory."""

import ctypes
import platform

import torch

from posegan.errors import PoseGANError

# Parameters of glibc's mallopt (malloc.h) and the largest mmap threshold that it accepts.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST_MMAP_THRESHOLD = 32 * 2**20


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` is the first CUDA device if there is one, else the CPU.

    Apple's `mps` is used only when named: not every operation of the networks was tried there.

    Raises:
        PoseGANError: the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise PoseGANError(f"device {name}: this machine shows {torch.cuda.device_count()} CUDA devices; set device to auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise PoseGANError("device mps: not available here; set device to auto or cpu")
    return device


def measuring_device(device: torch.device) -> torch.device:
    """Where the metrics of what `device` drew are computed: the CPU in place of Apple's `mps`, which has no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed blocks for reuse; returns whether it did (False on other C libraries).

    By default glibc gives every block above 128 KiB back to the kernel and faults its pages in anew
    at the next allocation; a training step on the CPU makes hundreds of those.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20))
    results = [mallopt(parameter, value) for parameter, value in settings]  # every one is tried
    return all(result == 1 for result in results)
