"""How does an image object become something a browser or a report can show?"""
