"""Every error that dotresize raises on purpose, in one tree.

    DotresizeError                 base: catch this to catch them all
    ├── InputError                 something the user named cannot be used
    │   ├── ModelError             model missing, unreadable, or of an unsupported family
    │   ├── TextError              calibration or evaluation text missing or too short
    │   ├── WidthError             a width that the target architecture cannot hold
    │   └── OptionError            options that contradict each other or cannot take effect
    ├── OutputError                the output exists, cannot be written, or the disk is full
    ├── ManifestError              dotresize.json missing, damaged, or from a newer version
    ├── MissingDependencyError     an optional package is not installed; names the extra
    ├── ConvergenceError           a numerical method stopped before its tolerance
    ├── VerificationError          an artefact does not reproduce its reference
    └── EngineError                an inference engine did not start, died, or cannot be reached

A message says what was found, what was expected, and what to do next. The command line prints it in
one line and exits with `exit_code`. Anything else that escapes is a bug: one line that asks to report it and
exit code 70, with the traceback only when DOTRESIZE_DEBUG is set. See `cli/last_resort.py` for all endings.
"""

__all__ = [
    "ConvergenceError",
    "DotresizeError",
    "EngineError",
    "InputError",
    "ManifestError",
    "MissingDependencyError",
    "ModelError",
    "OptionError",
    "OutputError",
    "TextError",
    "VerificationError",
    "WidthError",
]


class DotresizeError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 2


class InputError(DotresizeError):
    """Something the user named cannot be used."""


class ModelError(InputError):
    """A model is missing, unreadable, or of a family that is not supported."""


class TextError(InputError):
    """Calibration or evaluation text is missing, unreadable, or too short."""


class WidthError(InputError):
    """A requested width cannot be held by the target architecture."""


class OptionError(InputError):
    """Options contradict each other, or one of them cannot take effect."""


class OutputError(DotresizeError):
    """The output already exists, cannot be written, or the disk is full."""


class ManifestError(DotresizeError):
    """`dotresize.json` is missing, damaged, or written by a newer version."""


class MissingDependencyError(DotresizeError):
    """An optional package is not installed."""


class ConvergenceError(DotresizeError):
    """A numerical method stopped before it reached its tolerance."""

    exit_code = 3


class VerificationError(DotresizeError):
    """An artefact does not reproduce the reference that travels with it."""

    exit_code = 1


class EngineError(DotresizeError):
    """An inference engine did not start, died, or cannot be reached."""

    exit_code = 4
