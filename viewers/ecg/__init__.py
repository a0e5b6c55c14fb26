"""How does an ECG object become leads in microvolts and a page true to scale?"""
