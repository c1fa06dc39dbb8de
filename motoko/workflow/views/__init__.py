"""What is said of a workflow: its state, its runs, its firings, and the reasons for them."""
