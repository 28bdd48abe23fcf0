"""What has to be true of the two stores, looked at when a process starts and while it runs."""
