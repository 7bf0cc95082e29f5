"""What compressing a corpus takes, before it is done."""
