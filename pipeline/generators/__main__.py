"""`python -m pipeline.generators`."""

from pipeline.generators.command import main

main()
