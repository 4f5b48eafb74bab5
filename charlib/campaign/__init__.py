"""Campaigns: enumerate jobs, run them on all cores into a store that never loses work, fold rows into tables."""

from charlib.campaign.compare import Difference, check_against_shipped, compare_tables
from charlib.campaign.fold import Folded, Hole, describe, fold_tables
from charlib.campaign.plan import PRESETS, Campaign, Job, enumerate_jobs, run_id
from charlib.campaign.run import Summary, check_workers, default_workers, plan_runs, run_campaign
from charlib.campaign.store import RunRow, Store
from charlib.campaign.trace import explain_run, recipe, rerun

__all__ = [
    "PRESETS", "Campaign", "Difference", "Folded", "Hole", "Job", "RunRow", "Store", "Summary",
    "check_against_shipped", "check_workers", "compare_tables", "default_workers", "describe", "enumerate_jobs",
    "explain_run", "fold_tables", "plan_runs", "recipe", "rerun", "run_campaign", "run_id",
]
