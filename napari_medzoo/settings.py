"""The base of every settings model: frozen, unknown keys forbidden, YAML one to one."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings that are checked on reading and never change afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")
