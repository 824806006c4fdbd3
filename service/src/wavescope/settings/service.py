"""Limits, addresses and directories, from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from wavescope.errors import InvalidRequest

DEFAULT_PORT = 8000
Port = Annotated[int, Field(ge=0, le=65535)]
Level = Literal["debug", "info", "warning", "error", "critical"]


def _not_a_link(value: Any) -> Any:
    # Kubernetes sets WAVESCOPE_PORT=tcp://… in every pod beside a Service of that name.
    return DEFAULT_PORT if isinstance(value, str) and value.startswith("tcp://") else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _expanded(value: Any) -> Any:
    return Path(value).expanduser() if isinstance(value, str | Path) else value


def _listed(value: Any) -> Any:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


class Settings(BaseSettings):
    """Limits, addresses and directories of the service; frozen once made."""

    model_config = SettingsConfigDict(env_prefix="WAVESCOPE_", frozen=True, extra="forbid")

    host: str = Field(
        "127.0.0.1", description="address that HTTP binds; others than loopback need API keys or no_auth"
    )
    port: Annotated[Port, BeforeValidator(_not_a_link)] = Field(DEFAULT_PORT, description="of HTTP")
    grpc_port: Port = Field(9000, description="of gRPC; 0 turns it off")
    no_auth: bool = Field(False, description="serve every address without keys")
    api_keys_file: Annotated[Path | None, BeforeValidator(_expanded)] = Field(
        None, description="names, hashes and quotas of the API keys; without it there are no keys"
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        (), description="of pages on other sites that may call from a browser: https://example.org, by commas"
    )
    metrics_need_key: bool = Field(False, description="whether GET /metrics needs an API key too")
    log_level: Annotated[Level, BeforeValidator(_lower)] = Field("info", description="least level logged")
    cache_dir: Annotated[Path, BeforeValidator(_expanded)] = Field(
        default_factory=lambda: Path.home() / ".cache" / "wavescope", description="of exported models"
    )

    state_dir: Annotated[Path, BeforeValidator(_expanded)] = Field(
        default_factory=lambda: Path.home() / ".local" / "state" / "wavescope",
        description="of jobs and results where they are kept in a file",
    )
    store_url: str = Field(
        "",
        repr=False,  # may hold a password
        description="where jobs and results are kept: redis://… or rediss://…; empty for a file in state_dir",
    )

    max_body_bytes: int = Field(32 * 2**20, ge=1024, description="of a request body")
    # Pillow warns beyond 89 million pixels by itself.
    max_pixels: int = Field(64_000_000, ge=64, le=89_000_000, description="of an image, from its header")
    max_frames: int = Field(1000, ge=1, description="of an image file, of which the first is explained")
    max_forwards: int = Field(100_000, ge=1, description="of one explanation")
    max_images: int = Field(16, ge=1, description="of one batch")
    max_targets: int = Field(16, ge=1, description="explained for one image in one pass")
    request_timeout_s: float = Field(600.0, gt=0, description="for one request, all its explanations")

    max_running: int = Field(8, ge=1, description="requests that are computed at once; others wait")
    max_waiting: int = Field(64, ge=0, description="requests that wait; more are refused")
    max_wait_s: float = Field(
        60.0, gt=0, description="expected wait beyond which interactive requests are refused"
    )
    result_cache_bytes: int = Field(256 * 2**20, ge=0, description="of earlier results; 0 keeps none")

    max_streams: int = Field(64, ge=1, description="event streams open at once, in every gateway")
    max_streams_per_caller: int = Field(16, ge=1, description="of these, those of one caller")

    max_jobs: int = Field(1000, ge=1, description="jobs that have not ended")
    max_job_bytes: int = Field(
        2**30,
        ge=1,
        description="of the requests of jobs that have not ended, and of the results of those that have",
    )
    job_workers: int = Field(2, ge=0, description="jobs that one aggregator computes at once")
    job_lease_s: float = Field(
        15.0, gt=0, description="after which a silent worker's job is given to another"
    )
    job_attempts: int = Field(5, ge=1, description="how often a job is begun before it fails")
    job_timeout_s: float = Field(86_400.0, gt=0, description="for one job")
    job_retention_s: float = Field(86_400.0, gt=0, description="that ended jobs and their results are kept")

    remote_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        (), description="hosts that models served elsewhere may be on: name, name:port or *.domain, by commas"
    )
    models_poll_s: float = Field(
        2.0, gt=0, description="how often the registry file is looked at for changes"
    )

    chunk_rows: int = Field(64, ge=1, le=4096, description="design rows per chunk, the message to a replica")
    gateway_replicas: int = Field(1, ge=1)
    generator_replicas: int = Field(1, ge=1)
    aggregator_replicas: int = Field(1, ge=1)
    target_queued_images: float = Field(
        128.0, gt=0, description="per model replica, waiting or being scored, to scale on"
    )
    upscale_delay_s: float = Field(10.0, ge=0)
    downscale_delay_s: float = Field(300.0, ge=0)
    look_back_period_s: float = Field(10.0, gt=0, description="that load is averaged over")
    surge_percent: int = Field(
        0, ge=0, le=100, description="of a model's replicas that an update starts first; needs room for them"
    )
    drain_s: float = Field(30.0, ge=0, description="for a leaving model replica to finish its chunks")


def load_settings(**given: Any) -> Settings:
    """Settings from ``given`` values, then the environment, then the defaults.

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
