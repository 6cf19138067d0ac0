"""The scene memory: keeps what was cleared and answers questions."""
