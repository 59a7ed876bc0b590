"""Export of trained models, and serving them: exporter, signatures, server files and client."""
