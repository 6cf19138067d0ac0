"""The gateway: media in, everything that was understood out."""
