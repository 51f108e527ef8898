"""A directory -> a running OpenAI-compatible endpoint.

The package itself is callable, as `dotresize.compress` is:

    with dotresize.serve(dotresize.ServeOptions(directory=Path("narrow"), port=0)) as endpoint:
        ...  # endpoint.url and endpoint.model_name serve requests
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .endpoint import Endpoint
    from .engine.options import ServeOptions


class CallablePackage(ModuleType):
    """A folder that is also a function."""

    def __call__(self, options: "ServeOptions") -> "Endpoint":
        """Start an engine and return when it has answered as the reference in its directory says.

        Args:
            options: what to serve, with which engine, where.

        Raises:
            DotresizeError: the directory, the machine, the port or the engine does not fit.
            EngineError: it did not start; the message names the cause and the log.
            VerificationError: it started and does not say what the reference says.
        """
        from .endpoint import launch, plan

        return launch(plan(options), options)


sys.modules[__name__].__class__ = CallablePackage
