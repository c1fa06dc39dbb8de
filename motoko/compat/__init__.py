"""What directories and habits of BlackDynamite rest on: its names, on this engine."""
