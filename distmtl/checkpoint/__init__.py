"""What a checkpoint holds, how it is written, committed, found and read."""
