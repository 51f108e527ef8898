"""The options of a calibration, as everything takes them that looks at texts and changes no width."""

from dataclasses import dataclass

from ...compress.record.config import CompressConfig
from ...errors import OptionError

__all__ = ["CalibrationOptions"]

_WINDOW_TOKENS = 1024
_USUAL_WINDOWS = 128


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """Texts, and how much of them is read.

    Attributes:
        calibration: Texts, as `compress` takes them; none is no calibration.
        calibration_windows: How many windows of them; None for up to 128.
        window_tokens: Tokens per window.
        seed: Draws the windows.
        device: Where the model reads them: auto, cpu or cuda.

    Raises:
        OptionError: An option of a calibration where there is none, or a calibration of no tokens.
    """

    calibration: tuple[str, ...] = ()
    calibration_windows: int | None = None
    window_tokens: int = _WINDOW_TOKENS
    seed: int = 42
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.calibration:
            self._refuse_no_tokens()
        else:
            self._refuse_without_effect()

    def _refuse_without_effect(self) -> None:
        for name, value, default in (
            ("calibration-windows", self.calibration_windows, None),
            ("window-tokens", self.window_tokens, _WINDOW_TOKENS),
            ("seed", self.seed, 42),
            ("device", self.device, "auto"),
        ):
            if value != default:
                raise OptionError(f"--{name} has no effect without --calibration")

    def _refuse_no_tokens(self) -> None:
        for name, count, usual in (
            ("calibration-windows", self.calibration_windows, _USUAL_WINDOWS),
            ("window-tokens", self.window_tokens, _WINDOW_TOKENS),
        ):
            if count is not None and count < 1:
                raise OptionError(
                    f"--{name} is {count}, a calibration of no tokens; expected at least 1, such as {usual}"
                )

    @property
    def texts(self) -> CompressConfig:
        """The compression that keeps every width, for what it checks and draws of the texts."""
        return CompressConfig(
            mlp_width=1.0,
            calibration=self.calibration,
            calibration_windows=self.calibration_windows,
            window_tokens=self.window_tokens,
            seed=self.seed,
            device=self.device,
        )
