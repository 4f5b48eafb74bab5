"""Training on the in-memory arithmetic. Needs torch (the extra `train`)."""

from system.train.activity import Recorder
from system.train.convert import convert
from system.train.loop import Curve, Moment, Plan, Run
from system.train.mobilenet import mobilenet_v1
from system.train.short import TrainingRecord, train_digits
from system.train.weights import ArraySgd, stored

__all__ = ["ArraySgd", "Curve", "Moment", "Plan", "Recorder", "Run", "TrainingRecord", "convert", "mobilenet_v1",
           "stored", "train_digits"]
