"""`hyperseg demo`: everything on this machine (`demo`), with a worker that is a process of its own
(`worker`)."""
