"""What a corpus of some size costs: disk, hours of compute, traffic, and how many workers help."""
