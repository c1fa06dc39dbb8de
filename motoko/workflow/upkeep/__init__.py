"""What is done to a workflow besides running it: checks, changes, backups, repair, its end."""
