"""The options of a calibration, as every export that looks at texts takes them."""

from ...errors import OptionError

__all__ = ["WINDOW_TOKENS", "check_calibration"]

WINDOW_TOKENS = 1024
_DEFAULT_WINDOWS = 128


def check_calibration(
    calibration: tuple[str, ...],
    *,
    calibration_windows: int | None,
    window_tokens: int,
    seed: int,
    device: str,
) -> None:
    """Refuse what belongs to a calibration where there is none, and a calibration of no tokens.

    Args:
        calibration: Texts; none is no calibration.
        calibration_windows: How many windows of them; None for up to 128.
        window_tokens: Tokens per window.
        seed: Draws the windows.
        device: What reads them.

    Raises:
        OptionError: Such an option.
    """
    if not calibration:
        for name, value, default in (
            ("calibration-windows", calibration_windows, None),
            ("window-tokens", window_tokens, WINDOW_TOKENS),
            ("seed", seed, 42),
            ("device", device, "auto"),
        ):
            if value != default:
                raise OptionError(f"--{name} has no effect without --calibration")
        return
    for name, count, usual in (
        ("calibration-windows", calibration_windows, _DEFAULT_WINDOWS),
        ("window-tokens", window_tokens, WINDOW_TOKENS),
    ):
        if count is not None and count < 1:
            raise OptionError(
                f"--{name} is {count}, a calibration of no tokens; expected at least 1, such as {usual}"
            )
