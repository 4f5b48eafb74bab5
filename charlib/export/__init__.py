"""Tables for other tools: Liberty, hwcomponents, ZigZag, NeuroSim, and plain data as CSV, Parquet and netCDF.

A model of another tool is a handful of numbers at one operating point. Each number is a :class:`Value` that knows the
readings it was made from; one that was never measured stays empty and says why. `charlib.export.formats` lists the
formats; each has a module that turns tables into text or bytes and writes no file.
"""

from charlib.export.formats import FORMATS, Format, Request, render
from charlib.export.point import OperatingPoint, Reader, Reading, Value, typical_point

__all__ = ["FORMATS", "Format", "OperatingPoint", "Reader", "Reading", "Request", "Value", "render", "typical_point"]
