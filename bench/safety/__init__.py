"""What the safety filter finds, what it takes, and how sure that is."""
