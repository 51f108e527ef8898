"""A written checkpoint -> a repository on the Hugging Face hub; what can be refused is refused first."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...compress.weights.hub import hub_advice, offline
from ...errors import InputError, OptionError, OutputError
from ...foreign import first_line, reading
from ..contract.card import HERE, NAME

__all__ = ["HubTarget", "check_target", "push"]


@dataclass(frozen=True, kw_only=True)
class HubTarget:
    """Where to push."""

    name: str  # "owner/name"
    private: bool


def check_target(name: str, *, public: bool) -> HubTarget:
    """Refuse a push that cannot succeed: the name, the token, the owner.

    Args:
        name: "owner/name", or a name alone for the user's own.
        public: whether anybody may read it; only for a repository that is new.

    Raises:
        OptionError: no possible name, HF_HUB_OFFLINE is set, nobody is logged in, or the owner is another.
        InputError: the hub does not answer.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    with reading("--push-to-hub", OptionError, advice="expected OWNER/NAME or NAME"):
        validate_repo_id(name)
    if offline():
        raise OptionError(
            "--push-to-hub needs the hub, and HF_HUB_OFFLINE is set; unset it, or leave one of them out"
        )
    if get_token() is None:
        raise OptionError(
            "--push-to-hub needs somebody who is logged in: `hf auth login` with a token that may "
            "write, or set HF_TOKEN"
        )
    try:
        with reading("who is logged in", InputError, by="the hub"):
            user: dict[str, Any] = HfApi().whoami()
    except InputError as error:
        refused = getattr(getattr(error.__cause__, "response", None), "status_code", None) in (401, 403)
        advice = "the token is not accepted: `hf auth login` again" if refused else hub_advice(error, name)
        raise InputError(
            f"--push-to-hub {name}: {advice} ({first_line(error.__cause__ or error)})"
        ) from error
    owners = [str(user["name"]), *(str(each["name"]) for each in user.get("orgs", []))]
    owner, _, short = name.rpartition("/")
    if owner and owner not in owners:
        raise OptionError(
            f"--push-to-hub {name}: {owners[0]} may push to {', '.join(owners)}, not to {owner}"
        )
    _check_may_write(user)
    return HubTarget(name=f"{owner or owners[0]}/{short}", private=not public)


def _check_may_write(user: dict[str, Any]) -> None:
    token = (user.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read":
        raise OptionError(
            "--push-to-hub: the token may only read; make one that may write, and `hf auth login`"
        )


def push(directory: Path, target: HubTarget) -> str:
    """Upload a checkpoint, its card with the repository's name in it; returns the address.

    Raises:
        OutputError: the hub refused; everything is still in `directory`.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    readme = (directory / NAME).read_text(encoding="utf-8").replace(HERE, target.name)
    message = "Upload with dotresize"
    try:
        with reading(target.name, OutputError, by="the hub"):
            url = str(api.create_repo(target.name, private=target.private, exist_ok=True))
            api.upload_folder(
                repo_id=target.name, folder_path=directory, ignore_patterns=[NAME], commit_message=message
            )
            api.upload_file(
                repo_id=target.name,
                path_or_fileobj=readme.encode(),
                path_in_repo=NAME,
                commit_message="Model card",
            )
    except OutputError as error:
        raise OutputError(
            f"{directory} was written, but not pushed: {first_line(error.__cause__ or error)}; "
            f"`hf upload {target.name} {directory}` pushes it"
        ) from error
    return url
