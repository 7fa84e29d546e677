"""What is kept on the local disk: whole files, scalars that wait, and the lock of a run."""
