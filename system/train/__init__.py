"""Training on the in-memory arithmetic. Needs torch (the extra `train`)."""

from system.train.activity import Recorder
from system.train.convert import convert
from system.train.digits import Settings, TrainingRecord, train_digits, train_one
from system.train.mobilenet import mobilenet_v1

__all__ = ["Recorder", "Settings", "TrainingRecord", "convert", "mobilenet_v1", "train_digits", "train_one"]
