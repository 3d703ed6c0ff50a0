"""Durable jobs: enqueued in the commit that wants them, done at least once by whichever worker lives."""

from services.kernel.jobs.attempt import (
    Attempt,
    AttemptTimedOut,
    Check,
    JobCancelled,
    JobHandler,
    LeaseLost,
    PermanentError,
    RetryableError,
    Wait,
)
from services.kernel.jobs.cron import CatchUp, Cron, CronJob
from services.kernel.jobs.enqueue import bury, enqueue
from services.kernel.jobs.gauges import QueueGauges
from services.kernel.jobs.model import Backoff, DeadReason, Job, JobState, NewJob
from services.kernel.jobs.repository import JobFilter, JobRepository, QueueCounts
from services.kernel.jobs.worker import Worker

__all__ = [
    "Attempt",
    "AttemptTimedOut",
    "Backoff",
    "CatchUp",
    "Check",
    "Cron",
    "CronJob",
    "DeadReason",
    "Job",
    "JobCancelled",
    "JobFilter",
    "JobHandler",
    "JobRepository",
    "JobState",
    "LeaseLost",
    "NewJob",
    "PermanentError",
    "QueueCounts",
    "QueueGauges",
    "RetryableError",
    "Wait",
    "Worker",
    "bury",
    "enqueue",
]
