"""Replies of monitors as pydantic models, for the OpenAPI document and the test that holds replies against them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from wavescope.engine.monitors.state import Judgement
from wavescope.ingress.schemas.monitor import MonitorBody

StateName = Literal["collecting", "checking", "watching", "alarm", "stale", "rejected", "paused"]


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class GuaranteeReply(_Reply):
    """Promise about false alarms."""

    mean_observations: float = Field(
        description="Mean number of observations to a false alarm, at least this."
    )
    mean_days_at_this_rate: float | None = Field(description="The same in days; null before a rate is known.")
    assumes: Literal["exchangeable", "mean_within_tolerance"] = Field(description="Of an unchanged stream.")


class ChangedAtReply(_Reply):
    """First changed observation."""

    seq: int
    interval: list[int] = Field(description="Observations that it lies between, with 95 % of the weight.")
    earlier: bool = Field(description="Whether the interval may begin before what is remembered.")


class SignalReply(_Reply):
    """A signal now."""

    name: str
    observed: int
    failed: int = Field(description="Observations without a value, which count as the most unusual.")
    log10_evidence: float | None = Field(description="Null for none.")
    log10_threshold: float
    false_alarm_bound: float = Field(
        description="A stable stream comes as far within as many observations with at most this probability."
    )
    direction: Literal["large", "small"] | None
    changed_at: ChangedAtReply | None


class ScaleReply(_Reply):
    """Importance of one scale, then and now."""

    scale: str = Field(description="Range of sizes, such as 1-2px.")
    level: int
    reference: float = Field(description="Mean share in the reference.")
    reference_sd: float
    now: float | None = Field(description="Mean share in the last profiles.")
    interval_95: list[float] | None
    profiles: int


class MonitorReferenceReply(_Reply):
    """The reference."""

    n: int = Field(description="Images measured so far.")
    size: int
    source: Literal["stream", "given"]
    lag1_autocorrelation: float | None = Field(description="Largest of the signals.")
    self_test_log10: float | None = Field(description="Largest evidence of the reference against itself.")


class AlarmLinks(_Reply):
    """Addresses of an alarm."""

    diagnosis: str


class AlarmReply(_Reply):
    """An alarm."""

    id: int
    seq: int = Field(description="The observation that raised it.")
    at: str | None
    signals: list[SignalReply]
    acknowledged_at: str | None
    verdict: Judgement | None
    by: str | None
    links: AlarmLinks


class MonitorLinks(_Reply):
    """Addresses of a monitor."""

    self: str
    observations: str
    events: str = Field(description="With the capability token in the reply that made it, and in no other.")
    report: str
    alarms: str


class MonitorReply(_Reply):
    """A monitor."""

    name: str
    state: StateName
    since: str | None
    reason: str | None = Field(description="Why it is stale or rejected.")
    created_at: str | None
    model_revision: str | None = Field(description="Of model, preprocessing and profile of the reference.")
    observations: int = Field(description="Ended so far.")
    pending: int
    rate_per_hour: float | None
    last_observation_at: str | None
    guarantee: GuaranteeReply
    signals: list[SignalReply]
    cause: str
    verdict: str
    scales: list[ScaleReply]
    reference: MonitorReferenceReply
    outcomes: dict[str, int] = Field(description="Ended observations by outcome.")
    events: dict[str, int] = Field(description="Observations and events that arrived, by outcome.")
    forwards: int
    alarm: AlarmReply | None = Field(description="The open one.")
    alarms: int = Field(description="So far.")
    config: MonitorBody
    links: MonitorLinks
    token: str | None = Field(None, description="Of the address for events; in the reply that made it alone.")


class MonitorsReply(_Reply):
    """Monitors of the caller."""

    monitors: list[MonitorReply]


class OutcomesReply(_Reply):
    """Outcomes of images that were sent."""

    name: str
    outcomes: list[Literal["accepted", "sampled_out", "duplicate", "busy", "paused"]]


class AlarmsReply(_Reply):
    """The latest alarms of a monitor."""

    name: str
    count: int
    alarms: list[AlarmReply]


class EvidenceReply(_Reply):
    """Evidence over time, thinned."""

    signals: list[str]
    log10_threshold: list[float]
    seq: list[int]
    at: list[str | None]
    log10: list[list[float | None]]


class ShiftedReply(_Reply):
    """An observation far from the reference."""

    seq: int
    p: float = Field(description="Share of the reference at least as far, by the signal where it is least.")
    signal: str
    nearest_reference: int | None
    label: str | None
    image_kept: bool


class ReportReply(MonitorReply):
    """The report of a monitor: its status, and beside it what follows."""

    alarms: list[AlarmReply]  # type: ignore[assignment]  # instead of their number
    window: list[ScaleReply] | None = Field(description="Importance by scale within since and until.")
    evidence: EvidenceReply
    shifted: list[ShiftedReply]


class DiagnosisLinks(_Reply):
    """Addresses of a job."""

    self: str
    result: str


class DiagnosisJobReply(_Reply):
    """A job that looks into an alarm."""

    id: str
    kind: Literal["compare", "sufficient-image"]
    observation: int
    reference: int | None
    links: DiagnosisLinks


class DiagnosisReply(_Reply):
    """The jobs that look into an alarm."""

    alarm: int
    reason: str | None = Field(description="Why there are none.")
    jobs: list[DiagnosisJobReply]
