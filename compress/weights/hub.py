"""What a model hub refused, and what to do about it."""

__all__ = ["hub_advice", "offline"]


def offline() -> bool:
    """Whether HF_HUB_OFFLINE keeps this process from the hub, as huggingface_hub reads it."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def hub_advice(error: BaseException | None, name: str) -> str:
    """A clause that says what was in the way, and what to do next.

    Args:
        error: what huggingface_hub raised; its causes are looked at, too.
        name: of the repository.
    """
    from huggingface_hub import errors

    kinds: list[type[BaseException]] = []
    while error is not None:
        kinds.append(type(error))
        error = error.__cause__ or error.__context__

    def met(*wanted: type[BaseException]) -> bool:
        return any(issubclass(kind, wanted) for kind in kinds)

    if met(errors.GatedRepoError):
        return (
            f"it is gated: ask for access at https://huggingface.co/{name}, then log in with `hf auth login`"
        )
    if met(errors.RevisionNotFoundError):
        return "it has no such revision; see its list of branches and commits"
    if met(errors.RepositoryNotFoundError):
        return (
            "there is none of this name, or it is private; check the spelling, and log in with "
            "`hf auth login` if it is yours"
        )
    if met(errors.LocalTokenNotFoundError):
        return "nobody is logged in: `hf auth login`, or set HF_TOKEN"
    if offline() or met(errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, and it is not in the cache; unset it, or fetch it with `hf download`"
    return "the hub does not answer; check the spelling, the network and your access, or give a local path"
