"""The libraries of OpenPoczta, one module each: ``from libop import mparser``."""

from . import mparser
from ._libop import __version__

__all__ = ["__version__", "mparser"]
