"""Settings of a process: one class on pydantic-settings, read from ``QMESH_`` variables, refused with exit 78.

Responsible for the shared sections and for the production profile's refusals. A service declares its own section and says
which of the shared ones it cannot do without.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NoReturn, Self, override
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from qmesh_kit.environ import PREFIX, Problem, collect, variable
from qmesh_kit.units import Duration, Size

__all__ = [
    "EX_CONFIG",
    "BaseMeshSettings",
    "ConfigError",
    "DocumentsSection",
    "Duration",
    "LogSection",
    "MongoSection",
    "NatsSection",
    "PostgresSection",
    "Problem",
    "Section",
    "ServiceSection",
    "Size",
    "TlsSection",
    "load",
    "read",
    "refuse",
]

EX_CONFIG = 78
_WEAK_SECRETS = frozenset(
    {"changeme", "change-me", "secret", "password", "postgres", "admin", "default", "test", "token"}
)
_SHORTEST_SECRET = 16


class ConfigError(Exception):
    """The configuration is unusable; carries names and reasons, never values."""

    def __init__(self, problems: list[Problem]) -> None:
        """Takes at least one problem."""
        super().__init__("; ".join(f"{problem.name} {problem.reason}" for problem in problems))
        self.problems = problems


class Section(BaseModel):
    """Base of a section: frozen, unknown fields refused, values hidden from messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class LogSection(Section):
    """``QMESH_LOG__*``."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class TlsSection(Section):
    """``QMESH_TLS__*``: certificate, key and CA of this process, PEM files; used for gRPC both ways."""

    cert_file: Path
    key_file: Path
    ca_file: Path
    require_client_auth: bool = True


class NatsSection(Section):
    """``QMESH_NATS__*``."""

    url: str
    token: SecretStr | None = None
    creds_file: Path | None = None
    ca_file: Path | None = None
    stream_replicas: int = Field(default=1, ge=1, le=5)
    connect_timeout: Duration = Field(default=5.0, gt=0)
    request_timeout: Duration = Field(default=5.0, gt=0)
    reconnect_wait: Duration = Field(default=0.25, gt=0)
    pending: Size = Field(default=2 * 2**20, gt=0)

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        if not value.startswith(("nats://", "tls://")):
            raise ValueError("should start with nats:// or tls://")
        if "@" in urlsplit(value).netloc:
            raise ValueError("should not hold credentials; set the token or the creds_file")
        return value


class PostgresSection(Section):
    """``QMESH_POSTGRES__*``; a unix socket is ``postgresql:///db?host=/dir``.

    With `writer_role` the connections of a service take its writer role, of which their user is a member.
    """

    url: SecretStr
    migration_url: SecretStr | None = None
    migrate_on_start: bool = False
    writer_role: bool = False
    pool_min: int = Field(default=1, ge=0, le=100)
    pool_max: int = Field(default=4, ge=1, le=100)
    connect_timeout: Duration = Field(default=5.0, gt=0)
    acquire_timeout: Duration = Field(default=2.0, gt=0)
    statement_timeout: Duration = Field(default=10.0, gt=0)
    lock_timeout: Duration = Field(default=5.0, gt=0)
    idle_in_transaction_timeout: Duration = Field(default=15.0, gt=0)

    @field_validator("url", "migration_url")
    @classmethod
    def _known_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("should start with postgresql://")
        return value

    def plaintext(self) -> bool:
        """Whether a connection over TCP could be unencrypted or to an unproven server."""
        return any(
            _plaintext(url.get_secret_value()) for url in (self.url, self.migration_url) if url is not None
        )


class MongoSection(Section):
    """``QMESH_MONGO__*``: a server of MongoDB's protocol; the URL holds user, password and TLS."""

    url: SecretStr
    database: str = Field(default="qmesh", pattern=r"^[A-Za-z0-9_-]{1,63}$")
    timeout: Duration = Field(default=5.0, gt=0)

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"mongodb", "mongodb+srv"} or not parts.netloc:
            raise ValueError("should start with mongodb:// or mongodb+srv:// and name a host")
        return value

    def plaintext(self) -> bool:
        """Whether the connection is not encrypted."""
        parts = urlsplit(self.url.get_secret_value())
        query = {name.lower(): values[-1].lower() for name, values in parse_qs(parts.query).items()}
        asked = query.get("tls", query.get("ssl", "true" if parts.scheme == "mongodb+srv" else "false"))
        return asked != "true" or query.get("tlsinsecure") == "true"


class DocumentsSection(Section):
    """``QMESH_DOCUMENTS__*``: where documents are kept; `mongodb` needs ``QMESH_MONGO__URL``."""

    store: Literal["postgres", "mongodb"] = "postgres"


class ServiceSection(Section):
    """What each service's own section begins with."""

    listen: str = "127.0.0.1:0"
    http: str | None = None
    drain: Duration = Field(default=25.0, ge=0)
    max_concurrent: int = Field(default=512, ge=1, le=100_000)

    @field_validator("listen", "http")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("unix:"):
            host, _, port = value.rpartition(":")
            if not host or not (port.isascii() and port.isdigit() and int(port) <= 65535):  # noqa: PLR2004 - TCP
                raise ValueError("should be host:port or unix:/path")
        return value


class BaseMeshSettings(BaseSettings):
    """Settings that every process knows; a service adds its own section and overrides what it needs.

    With `patience`, a start waits that long for the database, its schema and the bus, and readiness follows them later.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    profile: Literal["local", "production"] = "local"
    home: Path = Path(".qmesh")
    ready_file: Path | None = None
    patience: Duration = Field(default=0.0, ge=0, validate_default=False)
    log: LogSection = LogSection()
    tls: TlsSection | None = None
    nats: NatsSection | None = None
    postgres: PostgresSection | None = None
    mongo: MongoSection | None = None
    documents: DocumentsSection = DocumentsSection()

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: `load` reads the environment, tests never do by accident."""
        return (init_settings,)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Settings from variables.

        Raises:
            ConfigError: names the variables that are wrong.
        """
        data, problems = collect(cls, environ)
        try:
            made = cls(**data)
        except ValidationError as error:
            named = {problem.name for problem in problems}
            problems += [p for p in _problems(error) if p.name not in named and f"{p.name}_FILE" not in named]
            raise ConfigError(problems) from None
        if made.documents.store == "mongodb" and made.mongo is None:
            reason = "is required because QMESH_DOCUMENTS__STORE is mongodb"
            problems.append(Problem(f"{PREFIX}MONGO__URL", reason))
        if made.profile == "production":
            problems += [Problem(name, reason) for name, reason in made.production_problems()]
        if problems:
            raise ConfigError(problems)
        return made

    def production_problems(self) -> list[tuple[str, str]]:
        """What the production profile refuses: (name of the variable, reason). Services extend the list."""
        found: list[tuple[str, str]] = []
        if self.postgres is not None and self.postgres.plaintext():
            found.append((f"{PREFIX}POSTGRES__URL", "should ask for sslmode=require or better in production"))
        if self.mongo is not None and self.mongo.plaintext():
            found.append((f"{PREFIX}MONGO__URL", "should ask for tls=true in production"))
        for name, secret in _secrets(self, PREFIX):
            if not name.endswith("URL") and _weak(secret):
                found.append((name, "is a default or short secret, which production refuses"))
        return found


def read[S: BaseMeshSettings](settings_class: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Settings from the environment, for programs that report a `ConfigError` themselves."""
    return settings_class.from_environ(os.environ if environ is None else environ)


def load[S: BaseMeshSettings](settings_class: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Settings from the environment, or the end of the process with exit 78 and the names at fault."""
    try:
        return read(settings_class, environ)
    except ConfigError as error:
        refuse(error)


def refuse(error: ConfigError) -> NoReturn:
    """Ends the process with exit 78 after one line on stderr for each problem."""
    for problem in error.problems:
        sys.stderr.write(f"configuration: {problem.name} {problem.reason}\n")
    raise SystemExit(EX_CONFIG)


def _problems(error: ValidationError) -> Iterator[Problem]:
    for detail in error.errors(include_input=False, include_context=False, include_url=False):
        message = detail["msg"].removeprefix("Value error, ")
        reason = "is required" if detail["type"] == "missing" else message[:1].lower() + message[1:]
        yield Problem(variable(detail["loc"]), reason.removeprefix("input "))


def _secrets(model: BaseModel, prefix: str) -> Iterator[tuple[str, str]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, SecretStr):
            yield f"{prefix}{name.upper()}", value.get_secret_value()
        elif isinstance(value, BaseModel):
            yield from _secrets(value, f"{prefix}{name.upper()}__")


def _weak(secret: str) -> bool:
    return len(secret) < _SHORTEST_SECRET or secret.lower() in _WEAK_SECRETS


def _plaintext(url: str) -> bool:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host = parts.hostname or query.get("host", [""])[-1]
    if not host or host.startswith("/"):
        return False
    return query.get("sslmode", ["prefer"])[-1] not in {"require", "verify-ca", "verify-full"}
