"""The library behind the tools of steps/ and utils/: it parses no arguments and prints nothing."""

__version__ = "0.1.0"
