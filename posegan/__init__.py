"""PoseGAN: pose-guided person image generation, the Deformable GAN of Siarohin et al. (CVPR 2018).

A trained generator draws a person in a new pose:

    from posegan import PoseTransfer

    transfer = PoseTransfer.from_pretrained("real")          # comes with it; or models/generator.safetensors
    image = transfer(photo, "walking-3/left")     # Pillow, NumPy or a tensor, one or many; out comes the same kind
    image = transfer(photo, photo_of_somebody)    # the pose of another picture

Read `training`, then `networks`, `losses` and `warp`. Nothing is imported before it is asked for: each module says what it needs.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posegan.errors import PoseGANError
    from posegan.inference.transfer import PoseTransfer

__all__ = ["PoseGANError", "PoseTransfer"]


def __getattr__(name: str) -> Any:
    # Late: the stages that only move tables import this package, and need no torch.
    if name == "PoseTransfer":
        from posegan.inference.transfer import PoseTransfer

        return PoseTransfer
    if name == "PoseGANError":
        from posegan.errors import PoseGANError

        return PoseGANError
    raise AttributeError(f"module 'posegan' has no attribute {name!r}")
