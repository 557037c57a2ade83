"""`python -m pipeline.pose_model`."""

from pipeline.pose_model.command import main

main()
