"""Python imports it at the start of each process that has this folder in its PYTHONPATH."""

from tests.chaos.crash_points import install

install()
