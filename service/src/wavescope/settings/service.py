"""Settings of the service from the environment: limits, addresses and directories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from wavescope.errors import InvalidRequest
from wavescope.imaging.limits import DEFAULT_LIMITS, ImageLimits
from wavescope.settings.prefixes import clean_prefix

DEFAULT_PORT = 8000
OTHER_REQUESTS = 64  # that a gateway serves beside those that run, wait or stream
Port = Annotated[int, Field(ge=0, le=65535)]
Level = Literal["debug", "info", "warning", "error", "critical"]


def _ignore_link(value: Any) -> Any:
    # Kubernetes sets WAVESCOPE_PORT=tcp://… in every pod beside a Service of that name.
    return DEFAULT_PORT if isinstance(value, str) and value.startswith("tcp://") else value


def _lowercase(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _expand_user(value: Any) -> Any:
    return Path(value).expanduser() if isinstance(value, str | Path) else value


def _check_prefix(value: str) -> str:
    prefix = clean_prefix(value)
    if prefix is None:
        raise ValueError(
            "must be a path such as /wavescope, of letters, digits and ._~-, that does not begin like one of ours "
            "(/v1, /v2, /docs)"
        )
    return prefix


def _find_home(setting: str) -> Path:
    try:
        return Path.home()
    except RuntimeError as homeless:  # a user that the system does not know, without HOME
        raise InvalidRequest(
            f"setting {setting} (WAVESCOPE_{setting.upper()}) is needed: the user has no home; set it, or HOME",
            field=setting,
        ) from homeless


def _split_list(value: Any) -> Any:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _split_names(value: Any) -> Any:
    return tuple(name.lower() for name in _split_list(value)) if isinstance(value, str) else value


class Settings(BaseSettings):
    """Limits, addresses and directories of the service; frozen once made."""

    model_config = SettingsConfigDict(env_prefix="WAVESCOPE_", frozen=True, extra="forbid")

    host: str = Field(
        "127.0.0.1", description="Address of the HTTP port; any but loopback needs API keys or no_auth"
    )
    port: Annotated[Port, BeforeValidator(_ignore_link)] = Field(DEFAULT_PORT, description="HTTP port")
    root_path: Annotated[str, AfterValidator(_check_prefix)] = Field(
        "",
        description="Path prefix of a gateway in front, such as /wavescope, which may take it away or pass it on: "
        "links, Location and /docs have it",
    )
    grpc_port: Port = Field(9000, description="gRPC port; 0 turns gRPC off")
    no_auth: bool = Field(False, description="Whether other hosts than this one are served without API keys")
    api_keys_file: Annotated[Path | None, BeforeValidator(_expand_user)] = Field(
        None, description="YAML file of the API keys: names, hashes and quotas; without it there are no keys"
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_list)] = Field(
        (),
        description="Origins, separated by commas, whose pages may call from a browser: https://example.org",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_names)] = Field(
        (),
        description="Names of this host beside localhost, separated by commas, that a header Host may have where there "
        "are neither API keys nor no_auth: of a container, or of a gateway in front",
    )
    metrics_need_key: bool = Field(False, description="Whether GET /metrics needs an API key too")
    log_level: Annotated[Level, BeforeValidator(_lowercase)] = Field(
        "info", description="Least severe message that is logged"
    )
    cache_dir: Annotated[Path, BeforeValidator(_expand_user)] = Field(
        default_factory=lambda: _find_home("cache_dir") / ".cache" / "wavescope",
        description="Directory of exported models",
    )

    state_dir: Annotated[Path, BeforeValidator(_expand_user)] = Field(
        default_factory=lambda: _find_home("state_dir") / ".local" / "state" / "wavescope",
        description="Directory of the SQLite file with jobs and cached results, where store_url is empty",
    )
    store_url: str = Field(
        "",
        repr=False,  # may hold a password
        description="Redis that keeps jobs and cached results: redis://… or rediss://…; empty for a file in state_dir",
    )
    store_timeout_s: float = Field(
        5.0,
        gt=0,
        description="Longest wait of a call for the store, before it is refused (503) or tried again",
    )
    result_cache_bytes: int = Field(
        256 * 2**20,
        ge=0,
        description="Largest size of all cached results; the least recently used are evicted; 0 turns the cache off",
    )
    result_cache_timeout_s: float = Field(
        0.5, gt=0, description="Longest wait of a request for a cached result, before it is computed"
    )
    results_shared: bool = Field(
        False, description="Whether API keys are answered from each other's cached results"
    )

    max_body_bytes: int = Field(
        32 * 2**20,
        ge=1024,
        description="Largest request body, and images of an RPC together; larger: 413, RESOURCE_EXHAUSTED",
    )
    # Pillow warns beyond 89 million pixels by itself.
    max_pixels: int = Field(
        DEFAULT_LIMITS.max_pixels,
        ge=64,
        le=89_000_000,
        description="Largest image, read from its header before anything is decoded",
    )
    max_frames: int = Field(
        DEFAULT_LIMITS.max_frames,
        ge=1,
        description="Most frames of an image file (an animation, a document of pages), whose first is explained",
    )
    max_decode_s: float = Field(
        2.0, gt=0, description="Longest processor time to decode an image, as estimated from its header"
    )
    max_forwards: int = Field(
        100_000,
        ge=1,
        description="Most images scored for one explanation: N(K + 2), or max_forwards of an adaptive plan, and "
        "the further ones of its kind",
    )
    max_images: int = Field(16, ge=1, description="Most images of one batch")
    max_targets: int = Field(16, ge=1, description="Most classes explained for one image, in one pass")
    request_timeout_s: float = Field(
        600.0, gt=0, description="Longest time of one request, with the wait and all its explanations"
    )

    max_running: int = Field(8, ge=1, description="Requests that are computed at once; others wait")
    max_waiting: int = Field(
        64, ge=0, description="Requests that may wait; more are refused: 429 with Retry-After"
    )
    max_planning: int = Field(
        2, ge=1, description="Images that one generator decodes and plans at once; others wait"
    )
    max_wait_s: float = Field(
        60.0,
        gt=0,
        description="Longest expected wait; interactive requests that would wait longer are refused",
    )

    max_connections: int = Field(
        1000,
        ge=1,
        description="Most open HTTP connections, and at most half of the files that the proxy may open; one more "
        "closes the longest idle",
    )
    max_header_bytes: int = Field(
        64 * 2**10,
        ge=1024,
        description="Largest request line and headers (at most 128), or metadata of an RPC; larger: 431, "
        "RESOURCE_EXHAUSTED",
    )
    header_timeout_s: float = Field(
        10.0,
        gt=0,
        description="Longest time to receive the headers of a request, or the first bytes of a gRPC connection; "
        "longer: 408",
    )
    body_timeout_s: float = Field(
        60.0,
        gt=0,
        description="Longest time to receive a whole body, or the message of an RPC; longer: 408, DEADLINE_EXCEEDED",
    )
    max_uploads: int = Field(128, ge=1, description="Most bodies and messages received at once; more: 429")
    max_uploads_per_caller: int = Field(
        32,
        ge=1,
        description="Most of these of one API key, or of one address where there are no keys; more: 429; not "
        "with no_auth",
    )
    max_upload_bytes: int = Field(
        512 * 2**20,
        ge=1,
        description="Most bytes of bodies in a proxy's memory, from their first byte to the start of their reply, so "
        "also while they wait; half of it for one such caller",
    )
    reply_timeout_s: float = Field(
        60.0,
        gt=0,
        description="Longest time that a client may leave a reply unread, or read less than 1 KiB of it a second, "
        "before its connection is cut",
    )
    max_streams: int = Field(64, ge=1, description="Most event streams open at once, in every gateway")
    max_streams_per_caller: int = Field(16, ge=1, description="Most of these of one caller")

    max_jobs: int = Field(1000, ge=1, description="Most jobs that have not ended")
    max_job_bytes: int = Field(
        2**30,
        ge=1,
        description="Largest size of the requests of all jobs that have not ended, and of the results of those that "
        "have",
    )
    job_workers: int = Field(2, ge=0, description="Jobs that one aggregator computes at once")
    job_lease_s: float = Field(
        15.0,
        gt=0,
        description="Lease of a job: when a worker has not renewed it for so long, another claims the job",
    )
    job_attempts: int = Field(5, ge=1, description="Times that a job is started before it fails")
    job_timeout_s: float = Field(86_400.0, gt=0, description="Longest time of one job")
    job_retention_s: float = Field(
        86_400.0, gt=0, description="Time for which ended jobs and their results are kept"
    )

    max_monitors: int = Field(32, ge=0, description="Most monitors that are kept")
    monitor_workers: int = Field(1, ge=0, description="Monitors that one aggregator works on at once")
    monitor_max_pending: int = Field(
        1000,
        ge=1,
        description="Most observations of a monitor that have not ended; of further events the images are counted as "
        "busy, further observations are refused: 429",
    )
    monitor_max_pending_bytes: int = Field(
        256 * 2**20, ge=1, description="Largest size of the images of these observations"
    )
    monitor_expiry_s: float = Field(
        3600.0,
        gt=0,
        description="Longest wait of an observation for a model that does not answer, before it ends unmeasured",
    )
    monitor_history: int = Field(
        100_000, ge=1000, description="Observations of a monitor whose measurements are kept, the latest"
    )
    events_need_key: bool = Field(
        True,
        description="Whether inference events need an API key where keys are configured, unless their address has a "
        "monitor's token",
    )

    remote_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_list)] = Field(
        (),
        description="Hosts, separated by commas, that models served elsewhere may be on: name, name:port or *.domain",
    )
    webhook_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_list)] = Field(
        (),
        description="Hosts, separated by commas, that webhooks of monitors may be sent to: name, name:port or *.domain",
    )
    webhook_secrets_dir: Annotated[Path | None, BeforeValidator(_expand_user)] = Field(
        None, description="Directory of the files that hold the keys of webhooks' signatures"
    )
    webhook_timeout_s: float = Field(10.0, gt=0, description="Longest time of one delivery of a webhook")
    models_poll_s: float = Field(
        2.0,
        gt=0,
        description="Time between two looks at the registry file, and at the files that it names, for changes",
    )

    chunk_rows: int = Field(
        64,
        ge=1,
        le=4096,
        description="Rows, which are perturbed images, of a chunk, the message to a model replica",
    )
    gateway_replicas: int = Field(1, ge=1, description="Gateways, which answer HTTP and gRPC")
    generator_replicas: int = Field(1, ge=1, description="Generators, which decode and plan images")
    aggregator_replicas: int = Field(
        1, ge=1, description="Aggregators, which run requests and jobs and estimate their indices"
    )
    one_process: bool | None = Field(
        None,
        description="Whether gateway, aggregator, generator, admission desk and metrics hub share one process; "
        "unset, they do where wavescope serve starts one of each on at most 4 cores",
    )
    target_queued_images: float = Field(
        128.0,
        gt=0,
        description="Images per model replica, waiting or being scored, beyond which another replica is started",
    )
    upscale_delay_s: float = Field(10.0, ge=0, description="Time of high load before replicas are added")
    downscale_delay_s: float = Field(300.0, ge=0, description="Time of low load before replicas are removed")
    look_back_period_s: float = Field(
        10.0, gt=0, description="Time over which the load is averaged for autoscaling"
    )
    surge_percent: int = Field(
        0,
        ge=0,
        le=100,
        description="Share of a model's replicas that an update starts before it stops others; needs room for them",
    )
    autoscaler_timeout_s: float = Field(
        0.0,
        ge=0,
        description="Time that an autoscaler of nodes has to make room for a replica; 0 where there is none",
    )
    drain_s: float = Field(
        30.0, ge=0, description="Time that a leaving model replica has to finish its chunks"
    )

    @property
    def image_limits(self) -> ImageLimits:
        """Limits of every image of a request."""
        return ImageLimits(self.max_pixels, self.max_frames, self.max_decode_s)

    @property
    def max_ongoing(self) -> int:
        """Requests that one gateway serves at once: those that run or wait, event streams, and others beside them."""
        return self.max_running + self.max_waiting + self.max_streams + OTHER_REQUESTS


def load_settings(**given: Any) -> Settings:
    """Load the settings from ``given`` values, then the environment, then the defaults.

    Raises:
        InvalidRequest: names the setting at fault.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else None
        name = f"WAVESCOPE_{field}".upper()
        raise InvalidRequest(f"setting {field} ({name}): {first['msg']}", field=field) from error


def as_environment(settings: Settings) -> dict[str, str]:
    """Format the settings that were given as environment variables, from which another process loads the same ones."""
    return {
        f"WAVESCOPE_{name}".upper(): _format_value(getattr(settings, name))
        for name in sorted(settings.model_fields_set)
        if getattr(settings, name) is not None
    }


def _format_value(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
