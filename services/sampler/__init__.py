"""The sampler: video to keyframes and scenes."""
