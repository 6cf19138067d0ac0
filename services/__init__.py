"""Processes and network faces: gRPC, the command line, the environment."""
