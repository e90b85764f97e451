from . import mparser as mparser

__all__ = ["__version__", "mparser"]

__version__: str
