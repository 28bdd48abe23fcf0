"""What the pages read out of SQL and Redis; always by index, within a bounded range."""
