"""The course of a recovery as SVG: held-out divergence of each text over the tokens, and training loss."""

import io

from ...export.contract.recovery import Recovery

__all__ = ["CURVE_SVG", "curve_svg"]

CURVE_SVG = "recovery.svg"


def curve_svg(recovery: Recovery) -> str | None:
    """The picture, the same bytes for the same curve; None where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return None
    from matplotlib.figure import Figure

    points = recovery.curve
    with matplotlib.rc_context({"svg.hashsalt": "dotresize", "svg.fonttype": "none"}):
        figure = Figure(figsize=(7.0, 3.6), layout="constrained")
        axes = figure.add_subplot()
        tokens = [point.tokens for point in points]
        for text in points[0].held_out_kl:
            axes.plot(tokens, [point.held_out_kl[text] for point in points], marker=".", label=text)
        trained = [(point.tokens, point.loss) for point in points if point.loss is not None]
        if trained:
            axes.plot(*zip(*trained, strict=True), color="0.6", linestyle=":", label="training loss")
        axes.axvline(
            next(point.tokens for point in points if point.step == recovery.best_step), color="0.8", zorder=0
        )
        axes.set(xlabel="tokens (grey line: kept)", ylabel="KL to the original, nats per token")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize="small")
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()
