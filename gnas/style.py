"""What all figures share."""

COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#999999")
"""Okabe and Ito's palette, which people with any colour vision tell apart."""
