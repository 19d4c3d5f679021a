"""Central intake and back office: receives sealed packets, gives receipts, shows the officer what was captured."""
