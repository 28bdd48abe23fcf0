"""The gateway to Dify: bytes, wire names, deadlines and faults of its service API end here."""
