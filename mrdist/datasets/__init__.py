"""Where images come from: synthetic faces, photographs on disk, and how they are aligned."""
