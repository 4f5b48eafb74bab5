"""Training on the in-memory arithmetic. Needs torch (the extra `train`)."""

from system.train.activity import Recorder
from system.train.audit import Audit, Outside
from system.train.convert import audit_of, convert
from system.train.loop import Curve, Moment, Plan, Run
from system.train.mobilenet import mobilenet_v1
from system.train.scopes import fp32
from system.train.short import TrainingRecord, train_digits
from system.train.weights import ArraySgd, stored

__all__ = ["ArraySgd", "Audit", "Curve", "Moment", "Outside", "Plan", "Recorder", "Run", "TrainingRecord", "audit_of",
           "convert", "fp32", "mobilenet_v1", "stored", "train_digits"]
