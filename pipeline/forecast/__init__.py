"""`ostraca plan`: what a build would take, without building: rates measured here, arithmetic on counts."""
