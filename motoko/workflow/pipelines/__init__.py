"""Pipelines that run on a workflow: phases begin when what they require is done."""
