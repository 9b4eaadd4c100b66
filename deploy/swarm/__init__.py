"""docker-compose.yaml as a stack."""
