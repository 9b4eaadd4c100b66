"""Configuration from the environment: a wrong variable is named, and a secret is never shown."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from utils.config import ConfigError, from_environment, variable


@dataclass(frozen=True, kw_only=True)
class Config:
    port: int = variable("PORT", default=50051, minimum=1, maximum=65535)
    rate: float = variable("RATE", default=0.95, minimum=0, maximum=1)
    dark: bool = variable("DARK", default=False)
    peers: dict[str, str] = variable("PEERS", default=None)
    nodes: tuple[str, ...] = variable("NODES", default=())
    mode: str = variable("MODE", default="a", choices=("a", "b"))
    key: str = variable("KEY", default="", secret=True)


def test_values_are_parsed_by_their_types() -> None:
    config = from_environment(
        Config, {"PORT": "1", "RATE": "0.5", "DARK": "true", "PEERS": "a=h:1, b=h:2", "NODES": "x,y", "MODE": "b"}
    )
    assert config == Config(port=1, rate=0.5, dark=True, peers={"a": "h:1", "b": "h:2"}, nodes=("x", "y"), mode="b")


def test_empty_means_not_set() -> None:
    assert from_environment(Config, {"PORT": "", "RATE": ""}) == Config()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "0"), ("PORT", "65536"), ("PORT", "http"), ("PORT", "1.5"), ("RATE", "1.1"), ("RATE", "nan"),
        ("RATE", "half"), ("DARK", "perhaps"), ("PEERS", "a"), ("PEERS", "a=1,a=2"), ("MODE", "c"),
    ],
)  # fmt: skip
def test_a_wrong_variable_is_named(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=name):
        from_environment(Config, {name: text})


def test_a_missing_variable_is_named() -> None:
    @dataclass(frozen=True)
    class Needs:
        url: str = variable("URL")

    with pytest.raises(ConfigError, match="URL is not set"):
        from_environment(Needs, {})


def test_any_variable_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    config = from_environment(Config, {"KEY_FILE": str(tmp_path / "key")})
    assert config.key == "secret"
    assert "secret" not in repr(config)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"KEY_FILE.*missing"):
        from_environment(Config, {"KEY_FILE": str(tmp_path / "missing")})
