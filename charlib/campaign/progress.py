"""The progress bar of a campaign: runs done, and time left by the expected solver time of what remains."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from charlib.campaign.run import OnResult

_REFRESH_S = 0.2


@contextmanager
def campaign_progress(title: str, *, quiet: bool = False) -> Iterator[OnResult | None]:
    """Give a callback for `run_campaign(on_result=…)` that draws a bar on standard error; None where quiet.

    The bar's length is expected solver time, not runs: the long runs come first.
    """
    if quiet:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[runs]} runs"),
               TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    # refreshed by hand: a thread of its own would keep the pool from forking its workers
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as bar:
        task = bar.add_task(title, total=None, runs="0")
        drawn_s = 0.0

        def on_result(done: int, total: int, cost_done_s: float, cost_s: float) -> None:
            nonlocal drawn_s
            bar.update(task, completed=cost_done_s, total=cost_s, runs=f"{done}/{total}")
            if done == total or time.monotonic() - drawn_s > _REFRESH_S:
                bar.refresh()
                drawn_s = time.monotonic()

        yield on_result
