"""Sound and video as calls send them: into the chunks that stages take."""
