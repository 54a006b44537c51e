"""Folders of files that are whole or not there, on disks and in stores."""
