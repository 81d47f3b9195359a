"""Rules, facts and changes in plain English: one wording for the console, the terminal and the API.
Pure."""
