"""Student and teacher: loaded, divided among processes, and what of the student moves."""
