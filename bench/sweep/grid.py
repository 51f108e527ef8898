"""PURE. A grid of widths and methods -> points, each a chain of independent commands.

The grid is the full one: (every hidden width, or the hidden width left alone) x (every MLP width, or the
MLP left alone) x (every method), without the point that changes nothing. Methods find the residual basis,
so points that leave the hidden width alone exist once, not once per method.
"""

import shlex
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import PurePath

from ...compress.record.config import CompressConfig
from ...errors import OptionError
from ..record.settings import FLAGS, BenchSettings

__all__ = ["Step", "SweepPoint", "SweepSettings", "plan_points"]


# What the command line calls a field of `CompressConfig`, where that is another name.
_COMPRESS_FLAGS = {"width": "hidden-size", "mlp_width": "intermediate-size"}


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """What a sweep does.

    Attributes:
        model: the original, as `dotresize compress` takes it.
        directory: every point gets a directory in it.
        hidden: new hidden sizes as fractions, between 0 and 1.
        mlp: new MLP widths as fractions, between 0 and 1.
        methods: how the residual basis is found; with `hidden` only.
        compress: what all points share; its widths and method are replaced.
        bench: what is measured at every point.
        evaluation: text for the perplexity in every model card, or none; the sweep's own comes from bench.
        runtime: which runtime verifies, as `dotresize verify --runtime`.

    Raises:
        OptionError: no width, a width out of range or named twice, or methods without effect.
    """

    model: str
    directory: str
    hidden: tuple[float, ...] = ()
    mlp: tuple[float, ...] = ()
    methods: tuple[str, ...] = ("pca",)
    compress: CompressConfig
    bench: BenchSettings
    evaluation: str = "none"
    runtime: str = "all"

    def __post_init__(self) -> None:
        if not self.hidden and not self.mlp:
            raise OptionError(
                "a sweep needs widths: --hidden-size 0.9,0.8, --intermediate-size 0.75,0.5, or both"
            )
        widths_of_axes = {"hidden-size": self.hidden, "intermediate-size": self.mlp}
        for name, values in {**widths_of_axes, "method": self.methods}.items():
            if len(set(values)) != len(values):
                raise OptionError(f"--{name} names a value twice: {', '.join(map(str, values))}")
        for name, widths in widths_of_axes.items():
            for width in widths:
                if not 0.0 < width < 1.0:
                    raise OptionError(
                        f"--{name} names {width:g}; expected fractions between 0 and 1, such as 0.9,0.75 "
                        "(leaving the width alone is always part of the grid)"
                    )
        if not self.methods:
            raise OptionError("--method is empty; name some of dot, magnitude, pca, pca+dot")
        if not self.hidden and self.methods != ("pca",):
            raise OptionError(
                "--method finds the basis of a hidden width; it has no effect without --hidden-size"
            )


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of a point."""

    name: str  # "compress", "verify" or "bench"
    arguments: tuple[str, ...]  # what follows `dotresize`

    @property
    def command(self) -> str:
        """As a user would type it."""
        return shlex.join(["dotresize", *self.arguments])


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """One place in the grid."""

    name: str  # also its directory's
    config: CompressConfig
    directory: str
    steps: tuple[Step, ...]

    @property
    def model_directory(self) -> str:
        """The narrowed checkpoint."""
        return str(PurePath(self.directory) / "model")

    @property
    def bench_directory(self) -> str:
        """Results and report of this point."""
        return str(PurePath(self.directory) / "bench")


def plan_points(settings: SweepSettings) -> list[SweepPoint]:
    """Every point of the grid, in the order of the options."""
    places: list[tuple[float | None, float | None, str]] = []
    for hidden, mlp, method in product((*settings.hidden, None), (*settings.mlp, None), settings.methods):
        place = (hidden, mlp, method if hidden is not None else "pca")
        if (hidden, mlp) != (None, None) and place not in places:
            places.append(place)
    return [_point(settings, *place) for place in places]


def _point(settings: SweepSettings, hidden: float | None, mlp: float | None, method: str) -> SweepPoint:
    parts = [] if hidden is None else [f"hidden-{hidden:g}-{method}"]
    name = "-".join([*parts, *([] if mlp is None else [f"mlp-{mlp:g}"])])
    basis = None if hidden is None else method  # without a hidden width it would be an option without effect
    config = replace(settings.compress, width=hidden, mlp_width=mlp, method=basis)  # type: ignore[arg-type]
    directory = str(PurePath(settings.directory) / name)
    point = SweepPoint(name=name, config=config, directory=directory, steps=())
    return replace(point, steps=_steps(settings, point))


def _steps(settings: SweepSettings, point: SweepPoint) -> tuple[Step, ...]:
    model, narrow = settings.model, point.model_directory
    evaluation = () if settings.evaluation == "builtin" else ("--evaluation", settings.evaluation)
    compress = ("compress", model, "-o", narrow, *_compress_options(point.config), *evaluation)
    verify = ("verify", narrow, *(() if settings.runtime == "all" else ("--runtime", settings.runtime)))
    bench = ("bench", model, narrow, "-o", point.bench_directory, *_bench_options(settings.bench))
    return tuple(Step(name=arguments[0], arguments=arguments) for arguments in (compress, verify, bench))


def _compress_options(config: CompressConfig) -> list[str]:
    """The options that differ from their defaults, as flags."""
    options: list[str] = []
    for field in fields(CompressConfig):
        value = getattr(config, field.name)
        if value == field.default:
            continue
        flag = f"--{_COMPRESS_FLAGS.get(field.name, field.name.replace('_', '-'))}"
        if isinstance(value, bool):
            options.append(flag if value else flag.replace("--", "--no-", 1))
        elif field.name == "calibration" and isinstance(value, tuple):
            options += [word for text in value for word in (flag, text)]
        else:
            options += [flag, _text(value)]
    return options


def _bench_options(settings: BenchSettings) -> list[str]:
    """The engine, and the options that differ from their defaults, as flags."""
    default = BenchSettings(engine=settings.engine)
    options = ["--engine", settings.engine]
    for field in fields(BenchSettings):
        value = getattr(settings, field.name)
        if value == getattr(default, field.name):
            continue
        flag = FLAGS.get(field.name, field.name.replace("_", "-"))
        text = shlex.join(value) if field.name == "engine_flags" else _text(value)
        options += [f"--{flag}={text}"] if text.startswith("-") else [f"--{flag}", text]
    return options


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(str(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
