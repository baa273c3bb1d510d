"""The processes: what reads, sends, listens and waits. Decides nothing that core decides; knows no provider by name."""
