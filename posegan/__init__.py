"""PoseGAN: pose-guided person image generation, the Deformable GAN of Siarohin et al. (CVPR 2018).

A trained generator draws a person in a new pose:

    from pathlib import Path
    from posegan.inference import PoseTransfer

    transfer = PoseTransfer(Path("models/generator.safetensors"))
    image = transfer(source, source_keypoints, target_keypoints)

Read `training`, then `networks`, `losses` and `warp`. Nothing is imported here: each module says what it needs.
"""
