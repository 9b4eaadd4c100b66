"""The bookstore beyond one machine: as a Docker Swarm stack, and on Kubernetes. Both follow docker-compose.yaml."""
