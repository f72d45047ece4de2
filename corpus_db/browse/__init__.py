"""Pages over the working database, for the person at this machine: browse, look at a pair, review the doubtful."""
