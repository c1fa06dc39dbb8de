"""How runs become processes or batch jobs, and how what became of them is recorded."""
