"""Other people's trained networks, through which losses and metrics look."""
