"""Configuration: frozen dataclasses, built once in `__main__` from the environment. `os.environ` is read nowhere else.

    @dataclass(frozen=True)
    class Config:
        node_id: str = variable("NODE_ID")
        port: int = variable("PORT", default=50051, minimum=1, maximum=65535)
        secret: str = variable("ORDER_ID_KEY", secret=True)

    config = from_environment(Config)

Any variable may instead be given as a file: `<NAME>_FILE` holds a path, as with Docker's secrets.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

_T = TypeVar("_T")


class ConfigError(Exception):
    """A variable is missing or wrong; the message names it and says what it should be."""


def variable(
    name: str,
    *,
    default: Any = dataclasses.MISSING,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    secret: bool = False,
) -> Any:
    """A dataclass field that is read from the environment variable `name`.

    Types: str, int, float, bool ("true"/"false"/"1"/"0"), tuple[str, ...] (comma-separated),
    dict[str, str] (comma-separated `key=value`). A secret does not show in the dataclass's repr.
    """
    metadata = {"variable": name, "minimum": minimum, "maximum": maximum, "choices": choices, "secret": secret}
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


def from_environment(config_type: type[_T], environment: Mapping[str, str] | None = None) -> _T:
    """Builds `config_type` from the environment (or from `environment`, in tests). Raises ConfigError."""
    environment = os.environ if environment is None else environment
    hints = get_type_hints(config_type)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config_type):  # type: ignore[arg-type]
        name = field.metadata["variable"]
        text = _text(name, environment)
        if text is None or (text == "" and hints[field.name] is not str):
            if field.default is dataclasses.MISSING:
                raise ConfigError(f"{name} is not set")
            continue
        values[field.name] = _parse(name, text, hints[field.name], field.metadata)
    return config_type(**values)


def _text(name: str, environment: Mapping[str, str]) -> str | None:
    if (path := environment.get(f"{name}_FILE")) is not None:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise ConfigError(f"{name}_FILE: {path} cannot be read: {error.strerror}") from error
    return environment.get(name)


def _parse(name: str, text: str, hint: Any, limits: Mapping[str, Any]) -> Any:
    shown = "its value" if limits["secret"] else repr(text)
    if hint is str:
        if limits["choices"] and text not in limits["choices"]:
            raise ConfigError(f"{name} must be one of {', '.join(limits['choices'])}, not {shown}")
        return text
    if hint is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ConfigError(f"{name} must be true or false, not {shown}")
        return text.lower() in ("true", "1")
    if hint == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if hint == dict[str, str]:
        pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
        if any(not (key and separator and value) for key, separator, value in pairs):
            raise ConfigError(f"{name} must be a comma-separated list of key=value, not {shown}")
        if len({key for key, _, _ in pairs}) < len(pairs):
            raise ConfigError(f"{name} names a key twice: {shown}")
        return {key: value for key, _, value in pairs}
    try:
        number = hint(text)
    except ValueError:
        raise ConfigError(f"{name} must be {'a whole number' if hint is int else 'a number'}, not {shown}") from None
    lowest, highest = limits["minimum"], limits["maximum"]
    if (lowest is not None and not number >= lowest) or (highest is not None and not number <= highest):
        raise ConfigError(f"{name} must be from {lowest} to {highest}, not {shown}")
    return number
