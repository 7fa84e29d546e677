"""Helpers around stores: databases, servers, disks."""
