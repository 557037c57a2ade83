"""What a benchmark runs on, and how much memory it took."""

import os
import platform
from pathlib import Path

import torch


def processor(device: torch.device) -> str:
    """The name of what computes."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    models = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{models[0] if models else platform.machine()} ({capability}), {os.cpu_count()} CPUs, {torch.get_num_threads()} threads"


def resident_peak_megabytes() -> float:
    """Of this process so far. (getrusage would count the parent's too, which a child starts with; Linux only.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
