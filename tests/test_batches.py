import torch

from posegan.data.batches import to_float, to_uint8


def test_to_uint8_undoes_to_float_for_every_value() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    floats = to_float(values)
    assert torch.equal(to_uint8(floats), values)
    assert (floats.min().item(), floats.max().item()) == (-1, 1)


def test_to_uint8_clamps_and_rounds_to_the_nearest() -> None:
    assert to_uint8(torch.tensor([-1.5, 1.5, -1 + 0.6 / 127.5, -1 + 0.4 / 127.5])).tolist() == [0, 255, 1, 0]
