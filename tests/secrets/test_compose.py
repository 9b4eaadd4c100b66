"""`docker inspect` shows a container's environment to everybody who may ask the engine: secrets come as files."""

import re
from pathlib import Path

import pytest
import yaml

COMPOSE = Path(__file__).parents[2] / "docker-compose.yaml"
SECRET = re.compile(r"KEY|PASSWORD|SECRET|TOKEN|DATABASE_URL|CREDENTIAL")
# It takes the key from the user's own environment into a file, and ends.
MAKES_SECRETS = ("secrets", "GOOGLE_API_KEY")
SERVICES = yaml.safe_load(COMPOSE.read_text())["services"]


def told(service: str) -> dict[str, str]:
    environment = SERVICES[service].get("environment") or {}
    if isinstance(environment, list):
        environment = dict(variable.partition("=")[::2] for variable in environment)
    return environment


@pytest.mark.parametrize("service", SERVICES)
def test_no_secret_is_in_the_environment(service: str) -> None:
    for name, value in told(service).items():
        if SECRET.search(name) and (service, name) != MAKES_SECRETS:
            assert name.endswith("_FILE"), f"{name} of {service}"
            assert str(value).startswith("/run/secrets/"), f"{name} of {service}"
        assert "://" not in str(value) or "@" not in str(value), f"{name} of {service} holds a password"


@pytest.mark.parametrize("service", SERVICES)
def test_no_secret_is_in_the_command(service: str) -> None:
    assert not SECRET.search(str(SERVICES[service].get("command", "")))
