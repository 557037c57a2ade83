"""Models on the Hugging Face hub: fetched once into its cache and verified, and published. Needs the extra posegan[hub]."""

import hashlib
import re
from pathlib import Path
from types import ModuleType

from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.model.generator_file import CARD, CONFIG, WEIGHTS

_NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_SHA1, _SHA256 = 40, 64  # hexadecimal digits


def is_hub_name(model: str) -> bool:
    """Whether `model` names a repository of the hub, `user/model` or `user/model@revision`, and nothing on this computer."""
    path = Path(model)
    return _NAME.fullmatch(model) is not None and path.suffix != ".safetensors" and not path.exists() and not path.parent.is_dir()


def fetch_model(name: str) -> Path:
    """The folder of the hub's model `name` in the hub's cache, fetched if need be; every file has the bytes that the hub names.

    Raises:
        PoseGANError: the extra is not installed, there is no such model, it cannot be reached, or a file is damaged.
    """
    hub = _hub(name)
    match = _NAME.fullmatch(name)
    if match is None:
        raise PoseGANError(f"{name}: expected user/model, or user/model@revision")
    try:
        found = hub.snapshot_download(match["repository"], revision=match["revision"], allow_patterns=[WEIGHTS, CONFIG, CARD])
    except hub.errors.GatedRepoError as error:
        raise PoseGANError(f"{name}: asks for permission first; ask for it on its page, then `hf auth login`") from error
    except hub.errors.RepositoryNotFoundError as error:
        raise PoseGANError(f"{name}: no such file here, and no such model on the hub; a private one needs `hf auth login`") from error
    except hub.errors.RevisionNotFoundError as error:
        raise PoseGANError(f"{name}: the hub's model has no such revision") from error
    except (hub.errors.LocalEntryNotFoundError, hub.errors.OfflineModeIsEnabled) as error:
        raise PoseGANError(
            f"{name}: not in the hub's cache, and the hub cannot be reached; check the network (and HF_HUB_OFFLINE), or name a file"
        ) from error
    except (hub.errors.HfHubHTTPError, OSError) as error:
        raise PoseGANError(f"{name}: could not be fetched from the hub ({error}); try again later, or name a file") from error
    folder = Path(found)
    for file in sorted(folder.iterdir()):
        _verify(name, file)
    return folder


def publish_model(folder: Path, name: str) -> str:
    """Put the files of `folder` into the hub's model `name`, made if there is none; returns its address.

    Raises:
        PoseGANError: the extra is not installed, nobody is logged in, or the hub refuses.
    """
    hub = _hub(name)
    try:
        address = hub.create_repo(name, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=folder, commit_message="PoseGAN generator")
    except (hub.errors.HfHubHTTPError, hub.errors.OfflineModeIsEnabled, OSError, ValueError) as error:
        raise PoseGANError(
            f"{name}: could not be published ({error}); log in with `hf auth login`, as somebody who may write it"
        ) from error
    return str(address)


def _hub(name: str) -> ModuleType:
    try:
        import huggingface_hub  # an extra
        import huggingface_hub.errors
    except ImportError:
        raise PoseGANError(f"{name}: no such file here; models on a hub need posegan[hub]: pip install 'posegan[hub]'") from None
    return huggingface_hub


def _verify(name: str, file: Path) -> None:
    """Compare a file of the cache with its name there, which is its content's hash: SHA-256, or that of a git blob."""
    expected = file.resolve().name
    if not re.fullmatch(r"[0-9a-f]+", expected) or len(expected) not in (_SHA1, _SHA256):
        return  # a cache without links: the hub's library has checked the length
    data_hash = sha256_of(file) if len(expected) == _SHA256 else _git_hash(file)
    if data_hash != expected:
        raise PoseGANError(f"{name}: {file.name} in the hub's cache is damaged; delete {file.resolve()} to fetch it again")


def _git_hash(file: Path) -> str:
    data = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
