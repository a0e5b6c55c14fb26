"""The web edge: pages, the application's own API, live streams, DICOMweb."""
