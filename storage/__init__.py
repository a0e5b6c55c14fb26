"""What is kept: objects (bytes that never change), the index that finds them and holds state,
facts and jobs."""
