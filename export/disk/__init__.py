"""Outputs on the disk: may this be written, is there room, all of it or nothing; and what files hold."""
