"""One study as the rest of Motoko sees it: records, selections, quantities, files."""
