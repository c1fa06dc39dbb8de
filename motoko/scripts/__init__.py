"""Programs of existing workflows that call Motoko by its modules."""
