"""What the name of a model means: one that comes with the program, a file or folder, or one on a hub."""

from pathlib import Path

from posegan.inference.hub import fetch_model, is_hub_name
from posegan.inference.shipped import shipped_generators


def named_model(model: str | Path) -> Path:
    """The file or folder of a model: the shipped one of this name, else what lies at this path, else the hub's `user/model`.

    Raises:
        PoseGANError: it is not here, and the hub does not give it. A path at which nothing lies is returned as it is.
    """
    if found := shipped_generators().get(str(model)):
        return found.path
    return fetch_model(str(model)) if is_hub_name(str(model)) else Path(model)
