"""What each kernel costs beside its reference and beside what one would use instead: `python -m kernels.bench`."""
