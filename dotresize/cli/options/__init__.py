"""One vocabulary: every option of every command, with its name, type, help and panel, is written here once.

A file holds one subject: aliases for single options, and groups of those that several commands take together
(see `groups.grouped`). Defaults belong to the commands. What an option was called before is in `old_names`.
"""
