"""Draw the coverage of a genome by reads, and the variants called from them.

plot.py DEPTH.tsv VARIANTS.vcf.gz PLOT.png
"""

import gzip
import sys
from pathlib import Path

import matplotlib.pyplot as plt

WINDOW_BP = 100
# Okabe and Ito's colours stay apart for the colour-blind; the markers differ as well.
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#BBBBBB"
STYLE = {
    "font.size": 11,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#EEEEEE",
    "legend.frameon": False,
}


def read_depths(path):
    """Return the genome's name and its depth at every position."""
    with Path(path).open() as lines:
        rows = [line.split("\t") for line in lines]
    name = rows[0][0].strip("|").split("|")[-1]  # gi|9626243|ref|NC_001416.1|
    return name, [int(depth) for _, _, depth in rows]


def read_variants(path):
    """Return (position, quality, is_indel) of every variant."""
    with gzip.open(path, "rt") as lines:
        rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return [(int(row[1]), float(row[5]), row[7].startswith("INDEL")) for row in rows]


def window_means(depths):
    """Return the middle and the mean depth of each window."""
    starts = range(0, len(depths), WINDOW_BP)
    windows = [depths[start : start + WINDOW_BP] for start in starts]
    middles = [start + WINDOW_BP / 2 for start in starts]
    return middles, [sum(window) / len(window) for window in windows]


def put_legend_above(axes):
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)


def draw_coverage(axes, depths):
    mean = sum(depths) / len(depths)
    positions, means = window_means(depths)
    kilobases = [position / 1000 for position in positions]
    axes.fill_between(kilobases, means, color=BLUE, alpha=0.3, linewidth=0)
    axes.plot(kilobases, means, color=BLUE, linewidth=1, label=f"mean of {WINDOW_BP} bp")
    axes.axhline(mean, color="black", linewidth=1, linestyle="--", label=f"genome: {mean:.0f}×")
    axes.set_ylabel("Coverage (×)")
    axes.set_ylim(bottom=0)
    put_legend_above(axes)


def draw_variants(axes, variants):
    positions = [position / 1000 for position, _, _ in variants]
    qualities = [quality for _, quality, _ in variants]
    axes.vlines(positions, 0, qualities, color=GREY, linewidth=1)
    for name, colour, marker, wanted in (
        ("substitutions", VERMILION, "o", False),
        ("insertions and deletions", PURPLE, "D", True),
    ):
        found = [(pos / 1000, quality) for pos, quality, is_indel in variants if is_indel == wanted]
        xs, ys = [x for x, _ in found], [y for _, y in found]
        axes.plot(xs, ys, marker, color=colour, markersize=6, label=f"{len(found)} {name}")
    axes.set_ylabel("Variant quality")
    axes.set_ylim(bottom=0)
    put_legend_above(axes)


def main(depth_path, variants_path, plot_path):
    genome, depths = read_depths(depth_path)
    variants = read_variants(variants_path)
    plt.rcParams.update(STYLE)
    figure, (above, below) = plt.subplots(
        2, 1, sharex=True, figsize=(10, 6), height_ratios=[3, 2], layout="constrained"
    )
    draw_coverage(above, depths)
    draw_variants(below, variants)
    above.set_title(f"{genome}, {len(depths):,} bp", loc="left", weight="bold")
    below.set_xlabel("Position (kb)")
    below.set_xlim(0, len(depths) / 1000)
    figure.savefig(plot_path, dpi=150)


main(*sys.argv[1:])
