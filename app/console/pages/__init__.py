"""The handlers of the console's pages, one file each."""
