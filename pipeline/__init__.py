"""Media, models, messages and the bus: everything Watchword does, without its processes and its network faces."""
