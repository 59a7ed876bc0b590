"""Tagging of audio files: tags, taggrams and embeddings of whole songs."""
