"""Numbers as options take them."""

import math
from typing import Any

import click


class NumberRange(click.FloatRange):
    """A number within bounds. click's own lets `nan` through, which is within all of them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is no number", param, ctx)
        return number
