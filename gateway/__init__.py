"""The edge: DICOM, DICOMweb, web, commands and workers. It opens the sockets and assembles the
parts."""
