"""A model at work on music: files to tags, taggrams and embeddings."""
