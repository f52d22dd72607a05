"""The service: settings, wire, streams, scheduling, metrics, health. The only room that knows all the others."""

from importlib.metadata import version

__version__ = version("ellq")
