"""How does a study look to people: pictures, ECG pages, report documents and the web front end."""
