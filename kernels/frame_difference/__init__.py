"""How much two pictures differ, measured on small luma thumbnails."""

from kernels.frame_difference.reference import (
    BINS,
    COLUMNS,
    ROWS,
    FrameDifference,
    Thumbnails,
    block_difference,
    frame_difference,
    histogram_distance,
    luma_difference,
    successive_differences,
)

__all__ = [
    "BINS",
    "COLUMNS",
    "ROWS",
    "FrameDifference",
    "Thumbnails",
    "block_difference",
    "frame_difference",
    "histogram_distance",
    "luma_difference",
    "successive_differences",
]
