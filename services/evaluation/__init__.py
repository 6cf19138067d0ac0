"""The evaluation kit's hands: media understood once and kept, questions asked in process or of a running system."""
