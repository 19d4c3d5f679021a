"""What a packet is and why it can be trusted: parts and manifest, signature, sealing, receipts, keys."""
