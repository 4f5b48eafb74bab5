"""Logic cells and the flip-flop."""
