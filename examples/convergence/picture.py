"""The picture of the error against the grid size."""

from itertools import cycle

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#009e73", "#cc8400", "#d55e00")
RING = {"marker": "o", "ms": 10, "mfc": "none", "ls": "none"}


def draw(rows, tolerance, file):
    """Draw estimated and true errors of each width, with the slope that they should have."""
    figure = Figure(figsize=(6.4, 4.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xscale="log", yscale="log")
    for row, colour in zip(rows, cycle(COLOURS), strict=False):
        axes.plot(row["grids"], row["errors"], "o-", color=colour, ms=5)
        axes.plot(row["grids"], row["true_errors"], color=colour, **RING)
        end = row["grids"][-1], row["errors"][-1]
        _write(axes, f"width {row['width']:g}", end, (0, -19), color=colour, ha="center")
    axes.plot([], [], "o-", color="grey", ms=5, label="estimated from two grids")
    axes.plot([], [], color="grey", label="from the known solution", **RING)

    grids = sorted({n for row in rows for n in row["grids"]})
    axes.axhline(tolerance, color="black", lw=0.8, ls="--")
    _write(axes, "tolerance", (grids[-1], tolerance), (14, 4))
    _draw_slope(axes, grids[-2], grids[-1], above=2 * rows[-1]["errors"][-2])

    axes.set_xticks(grids, [str(n) for n in grids])
    axes.minorticks_off()
    axes.margins(y=0.09)
    axes.set_xlim(grids[0] / 1.2, grids[-1] * 1.45)
    axes.set_xlabel("intervals in each direction")
    axes.set_ylabel("largest error of the temperature")
    axes.grid(color="0.9", lw=0.6)
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    figure.savefig(file)


def _write(axes, text, point, offset, **kwargs):
    axes.annotate(text, point, offset, textcoords="offset points", fontsize=9, **kwargs)


def _draw_slope(axes, left, right, above):
    """A triangle between two grid sizes whose long side falls with slope 2."""
    below = above * (left / right) ** 2
    axes.plot([left, right, right, left], [above, below, above, above], "k-", lw=1)
    _write(axes, "expected:\nslope 2", (right, (above * below) ** 0.5), (5, -8))
