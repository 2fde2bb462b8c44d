"""What a run will need of memory, disk and time, before anything of it is done."""
