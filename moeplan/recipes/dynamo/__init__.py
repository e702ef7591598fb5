"""Dynamo on Kubernetes: objects of a deployment, written, read and checked."""
