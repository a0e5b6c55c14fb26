"""How do DICOM devices talk to the gateway? Associations, and the services on them."""
