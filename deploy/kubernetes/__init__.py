"""Manifests for kustomize, and their secrets."""
