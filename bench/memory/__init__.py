"""How fast the scene memory takes in and answers, by how much it holds."""
