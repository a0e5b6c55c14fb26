"""How does a signed report look, who sealed it, and is a given file still that report?"""
