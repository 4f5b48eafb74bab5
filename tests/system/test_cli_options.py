"""Every option of an estimate can be said on the command line."""

from __future__ import annotations

import inspect
from dataclasses import fields

from system import cli
from system.options import EstimateOptions


def test_every_option_is_on_the_command_line() -> None:
    said = inspect.signature(cli.estimate).parameters
    assert {field.name for field in fields(EstimateOptions)} <= set(said)


def test_defaults_are_the_records() -> None:
    said, defaults = inspect.signature(cli.estimate).parameters, EstimateOptions()
    for field in fields(EstimateOptions):
        if field.name in said and field.name != "network" and said[field.name].default is not None:
            assert said[field.name].default == getattr(defaults, field.name), field.name
