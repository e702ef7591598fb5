"""srt-slurm: the recipe file that srtctl runs as one Slurm job."""
